/* SPDX-License-Identifier: Apache-2.0 */
/* The array is walked here and each segment parsed by jansson (it bounds depth, refuses NUL and bad
 * UTF-8) on its own, so that the tree of values is never larger than one segment's: ten MiB of `{}`
 * would make a gigabyte. proto_json.h maps; what OAP fails on beyond that is refused here. */
#include "reporter/segment_json.h"

#include <stdio.h>

#include "reporter/proto_json.h"
#include "tracing.pb-c.h"

/* OAP's own limit of a body. */
#define MAX_BODY_BYTES (10u << 20)
/* Objects and arrays of one segment; 300 spans with 20 tags and 10 logs each have about 40000. */
#define MAX_CONTAINERS 100000

/* What is left of the body, as jansson reads it. */
struct feed {
    struct sky_text left;
    size_t container_count;
    bool is_in_string, is_escaped, has_too_many;
};

struct refusal {
    char *text;
    size_t size;
};

static void count_containers(struct feed *feed, struct sky_text bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.base[i];
        if (feed->is_in_string && c == '\\' && !feed->is_escaped) {
            feed->is_escaped = true;
            continue;
        }
        if (c == '"' && !feed->is_escaped)
            feed->is_in_string = !feed->is_in_string;
        feed->container_count += !feed->is_in_string && (c == '{' || c == '[');
        feed->is_escaped = false;
    }
}

static size_t read_feed(void *buffer, size_t size, void *argument)
{
    struct feed *feed = argument;
    struct sky_text piece =
        sky_text(feed->left.base, size < feed->left.len ? size : feed->left.len);

    count_containers(feed, piece);
    feed->has_too_many = feed->container_count > MAX_CONTAINERS;
    if (feed->has_too_many)
        return (size_t)-1;
    if (piece.len > 0)
        memcpy(buffer, piece.base, piece.len);
    feed->left = sky_text(feed->left.base + piece.len, feed->left.len - piece.len);
    return piece.len;
}

/* Parses one value at the start of body and takes it off. */
static json_t *parse_value(struct sky_text *body, const struct refusal *refusal)
{
    struct feed feed = {.left = *body};
    json_error_t where;
    json_t *value = json_load_callback(read_feed, &feed, JSON_DISABLE_EOF_CHECK, &where);

    if (value != NULL)
        *body = sky_text(body->base + where.position, body->len - (size_t)where.position);
    else if (feed.has_too_many)
        snprintf(refusal->text, refusal->size, "more than %d objects and arrays", MAX_CONTAINERS);
    else
        snprintf(refusal->text, refusal->size, "line %d, column %d: %.100s", where.line,
                 where.column, where.text);
    return value;
}

/* NULL when OAP would store the segment, else what is wrong with it. */
static const char *find_defect(const Skywalking__V3__SegmentObject *segment)
{
    if (segment->traceid[0] == '\0')
        return "no traceId";
    if (segment->tracesegmentid[0] == '\0')
        return "no traceSegmentId";
    for (size_t i = 0; i < segment->n_spans; i++) {
        if (segment->spans[i]->spanid == 0)
            return NULL;
    }
    return "no span with spanId 0";
}

static struct sky_packet *pack_value(const json_t *value, const struct refusal *refusal)
{
    ProtobufCMessage *message = sky_proto_from_json(&skywalking__v3__segment_object__descriptor,
                                                    value, refusal->text, refusal->size);
    if (message == NULL)
        return NULL;
    const char *defect = find_defect((const Skywalking__V3__SegmentObject *)message);
    struct sky_packet *packet = defect == NULL ? sky_packet_of(SKY_PACKET_SEGMENT, message) : NULL;
    if (packet == NULL)
        snprintf(refusal->text, refusal->size, "%s",
                 defect != NULL ? defect : "larger than 3 MiB, or memory is out");
    protobuf_c_message_free_unpacked(message, NULL);
    return packet;
}

static bool read_segment(struct sky_text *body, struct sky_packets *segments,
                         const struct refusal *refusal)
{
    json_t *value = parse_value(body, refusal);

    if (value == NULL)
        return false;
    struct sky_packet *packet = pack_value(value, refusal);
    json_decref(value);
    if (packet == NULL)
        return false;
    sky_packets_add(segments, packet);
    return true;
}

/* RFC 8259, 2. */
static void take_blanks(struct sky_text *body)
{
    while (body->len > 0 && memchr(" \t\r\n", *body->base, 4) != NULL)
        *body = sky_text(body->base + 1, body->len - 1);
}

/* Takes blanks off and then `c`, when it is next. */
static bool take(struct sky_text *body, char c)
{
    take_blanks(body);
    if (body->len == 0 || *body->base != c)
        return false;
    *body = sky_text(body->base + 1, body->len - 1);
    return true;
}

static bool read_array(struct sky_text body, struct sky_packets *segments,
                       const struct refusal *refusal)
{
    char why[160];

    if (!take(&body, '[')) {
        snprintf(refusal->text, refusal->size, "an array of segments is wanted");
        return false;
    }
    bool is_at_end = take(&body, ']');
    while (!is_at_end) {
        if (!read_segment(&body, segments, &(struct refusal){why, sizeof(why)})) {
            snprintf(refusal->text, refusal->size, "segment %zu: %.150s", segments->count, why);
            return false;
        }
        is_at_end = take(&body, ']');
        if (!is_at_end && !take(&body, ',')) {
            snprintf(refusal->text, refusal->size, "no comma or ] after segment %zu",
                     segments->count - 1);
            return false;
        }
    }
    take_blanks(&body);
    if (body.len > 0)
        snprintf(refusal->text, refusal->size, "something follows the array");
    return body.len == 0;
}

bool sky_segments_from_json(struct sky_text body, struct sky_packets *segments, char *error,
                            size_t error_size)
{
    const struct refusal refusal = {error, error_size};

    if (body.len > MAX_BODY_BYTES) {
        snprintf(error, error_size, "the body is larger than 10 MiB");
        return false;
    }
    bool is_read = read_array(body, segments, &refusal);
    if (!is_read)
        sky_packets_free(segments);
    return is_read;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* jansson parses (it bounds depth, refuses NUL and bad UTF-8), proto_json.h maps, the rules of
 * skywalking-protocol 0 are checked here. */
#include "reporter/segment_json.h"

#include <stdio.h>

#include "reporter/proto_json.h"
#include "tracing.pb-c.h"

/* OAP's own limit of a body. */
#define MAX_BODY_BYTES (10u << 20)

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

static struct sky_packet *read_segment(const json_t *value, char *error, size_t error_size)
{
    ProtobufCMessage *message =
        sky_proto_from_json(&skywalking__v3__segment_object__descriptor, value, error, error_size);
    if (message == NULL)
        return NULL;
    const char *defect = find_defect((const Skywalking__V3__SegmentObject *)message);
    struct sky_packet *packet = defect == NULL ? sky_packet_of(message) : NULL;
    if (packet == NULL)
        snprintf(error, error_size, "%s",
                 defect != NULL ? defect : "larger than 3 MiB, or memory is out");
    protobuf_c_message_free_unpacked(message, NULL);
    return packet;
}

static bool read_segments(const json_t *array, struct sky_packets *segments, char *error,
                          size_t error_size)
{
    char why[160];

    if (!json_is_array(array)) {
        snprintf(error, error_size, "an array of segments is wanted");
        return false;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct sky_packet *packet = read_segment(json_array_get(array, i), why, sizeof(why));
        if (packet == NULL) {
            snprintf(error, error_size, "segment %zu: %s", i, why);
            sky_packets_free(segments);
            return false;
        }
        sky_packets_add(segments, packet);
    }
    return true;
}

bool sky_segments_from_json(struct sky_text body, struct sky_packets *segments, char *error,
                            size_t error_size)
{
    json_error_t where;

    if (body.len > MAX_BODY_BYTES) {
        snprintf(error, error_size, "the body is larger than 10 MiB");
        return false;
    }
    json_t *array = json_loadb(body.base != NULL ? body.base : "", body.len, 0, &where);
    if (array == NULL) {
        snprintf(error, error_size, "line %d, column %d: %s", where.line, where.column, where.text);
        return false;
    }
    bool is_read = read_segments(array, segments, error, error_size);
    json_decref(array);
    return is_read;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Segments are kept as they came, packed; only those of the traces asked for are unpacked. The lock
 * is held while a page is written: the reporter thread waits for it, and its rings meanwhile hold
 * what the workers push. */
#include "reporter/local.h"

#include <pthread.h>
#include <stdlib.h>

#include "reporter/json_text.h"
#include "reporter/packets.h"
#include "reporter/proto_json.h"
#include "tracing.pb-c.h"

struct sky_local {
    size_t max_bytes;
    pthread_mutex_t lock;
    struct sky_packets kept; /* oldest first */
    uint64_t evicted;
};

struct sky_local *sky_local_new(size_t max_bytes)
{
    struct sky_local *local = calloc(1, sizeof(*local));

    if (local == NULL)
        return NULL;
    local->max_bytes = max_bytes;
    pthread_mutex_init(&local->lock, NULL);
    return local;
}

void sky_local_destroy(struct sky_local *local)
{
    if (local == NULL)
        return;
    sky_packets_free(&local->kept);
    pthread_mutex_destroy(&local->lock);
    free(local);
}

void sky_local_store(struct sky_local *local, struct sky_packet *packet)
{
    pthread_mutex_lock(&local->lock);
    sky_packets_add(&local->kept, packet);
    while (local->kept.bytes > local->max_bytes) {
        free(sky_packets_shift(&local->kept));
        local->evicted++;
    }
    pthread_mutex_unlock(&local->lock);
}

struct sky_local_totals sky_local_totals(struct sky_local *local)
{
    pthread_mutex_lock(&local->lock);
    struct sky_local_totals totals = {local->kept.count, local->kept.bytes, local->evicted};
    pthread_mutex_unlock(&local->lock);
    return totals;
}

/* The trace id without unpacking: protobuf-c packs fields in order of their number, and traceId is
 * number 1, so the packet begins with it. */
static struct sky_text trace_id_of(const struct sky_packet *packet)
{
    const size_t head = 2; /* tag and a length of one byte */
    const size_t long_head = 3;

    if (packet->size < long_head || packet->data[0] != 0x0a)
        return (struct sky_text){0};
    bool is_long = packet->data[1] >= 0x80;
    size_t length = packet->data[1] & 0x7f;
    if (is_long)
        length |= (size_t)(packet->data[2] & 0x7f) << 7;
    size_t start = is_long ? long_head : head;
    if ((is_long && packet->data[2] >= 0x80) || length > packet->size - start)
        return (struct sky_text){0};
    return sky_text((const char *)packet->data + start, length);
}

static Skywalking__V3__SegmentObject *unpack(const struct sky_packet *packet)
{
    return skywalking__v3__segment_object__unpack(NULL, packet->size, packet->data);
}

/* A trace's segments among all that are kept, oldest first. */
struct trace {
    struct sky_text id;
    size_t first; /* index of a node */
    size_t count;
};

struct node {
    const struct sky_packet *packet;
    size_t next; /* the next newer segment of the same trace, when there is one */
};

#define SLOTS 4096 /* a power of two, well above SKY_LOCAL_MAX_ROWS */

/* The traces to list, found by id through open addressing. */
struct table {
    struct node *nodes;
    size_t node_count, trace_count;
    uint16_t slots[SLOTS]; /* 1 + index of a trace; 0: free */
    struct trace traces[SKY_LOCAL_MAX_ROWS];
};

static size_t hash(struct sky_text id)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.base[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

/* The trace with this id, added while there are fewer than limit; else NULL. */
static struct trace *find_trace(struct table *table, struct sky_text id, size_t limit)
{
    size_t slot = hash(id) % SLOTS;

    for (; table->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        struct trace *trace = &table->traces[table->slots[slot] - 1];
        if (sky_text_equal(trace->id, id))
            return trace;
    }
    if (table->trace_count == limit)
        return NULL;
    struct trace *trace = &table->traces[table->trace_count++];
    *trace = (struct trace){.id = id};
    table->slots[slot] = (uint16_t)table->trace_count;
    return trace;
}

/* Newest first, so that the first `limit` ids seen are the traces to list; each older segment of
 * theirs goes to the front of its trace. */
static void group(struct table *table, size_t limit)
{
    for (size_t i = table->node_count; i-- > 0;) {
        struct trace *trace = find_trace(table, trace_id_of(table->nodes[i].packet), limit);
        if (trace == NULL)
            continue;
        table->nodes[i].next = trace->first;
        trace->first = i;
        trace->count++;
    }
}

/* What a row says of a trace, while its segments are unpacked. */
struct summary {
    Skywalking__V3__SegmentObject **segments;
    size_t count, spans;
    int64_t start, end;
    const Skywalking__V3__SpanObject *root; /* of the segment without a ref, else the earliest */
    const char *service;                    /* of the root */
    bool root_has_refs;
    bool is_error;
};

static void add_span(struct summary *summary, const Skywalking__V3__SegmentObject *segment,
                     const Skywalking__V3__SpanObject *span)
{
    bool has_refs = span->n_refs > 0;

    if (summary->spans == 0 || span->starttime < summary->start)
        summary->start = span->starttime;
    if (summary->spans == 0 || span->endtime > summary->end)
        summary->end = span->endtime;
    summary->spans++;
    summary->is_error |= span->iserror != 0;
    if (span->spanid != 0)
        return;
    if (summary->root != NULL &&
        (summary->root_has_refs == has_refs ? span->starttime >= summary->root->starttime
                                            : has_refs))
        return;
    summary->root = span;
    summary->root_has_refs = has_refs;
    summary->service = segment->service;
}

static void write_services(struct sky_json_text *json, const struct summary *summary)
{
    sky_json_key(json, "services");
    sky_json_raw(json, SKY_TEXT("["));
    for (size_t i = 0; i < summary->count; i++) {
        size_t seen = 0;
        while (seen < i &&
               strcmp(summary->segments[seen]->service, summary->segments[i]->service) != 0)
            seen++;
        if (seen < i)
            continue;
        sky_json_comma(json);
        sky_json_string(json, sky_text_of(summary->segments[i]->service));
    }
    sky_json_raw(json, SKY_TEXT("]"));
}

/* Times of foreign segments may be anything. */
static int64_t duration(const struct summary *summary)
{
    int64_t duration_ms;

    return __builtin_sub_overflow(summary->end, summary->start, &duration_ms) ? 0 : duration_ms;
}

static void write_row(struct sky_json_text *json, struct sky_text id, const struct summary *summary)
{
    sky_json_comma(json);
    sky_json_raw(json, SKY_TEXT("{"));
    sky_json_key(json, "traceId");
    sky_json_string(json, id);
    sky_json_key(json, "operation");
    sky_json_string(json, sky_text_of(summary->root != NULL ? summary->root->operationname : ""));
    sky_json_key(json, "service");
    sky_json_string(json, sky_text_of(summary->service));
    sky_json_key(json, "startTime");
    sky_json_number(json, summary->start);
    sky_json_key(json, "durationMs");
    sky_json_number(json, duration(summary));
    sky_json_key(json, "isError");
    sky_json_bool(json, summary->is_error);
    sky_json_key(json, "segments");
    sky_json_number(json, (int64_t)summary->count);
    sky_json_key(json, "spans");
    sky_json_number(json, (int64_t)summary->spans);
    write_services(json, summary);
    sky_json_raw(json, SKY_TEXT("}"));
}

static void write_trace(struct sky_json_text *json, const struct table *table,
                        const struct trace *trace)
{
    struct summary summary = {.segments = calloc(trace->count, sizeof(*summary.segments))};
    size_t node = trace->first;

    if (summary.segments == NULL) {
        json->failed = true;
        return;
    }
    for (; summary.count < trace->count; node = table->nodes[node].next) {
        Skywalking__V3__SegmentObject *segment = unpack(table->nodes[node].packet);
        if (segment == NULL)
            break;
        summary.segments[summary.count++] = segment;
        for (size_t i = 0; i < segment->n_spans; i++)
            add_span(&summary, segment, segment->spans[i]);
    }
    if (summary.count == trace->count)
        write_row(json, trace->id, &summary);
    else
        json->failed = true;
    while (summary.count > 0)
        skywalking__v3__segment_object__free_unpacked(summary.segments[--summary.count], NULL);
    free(summary.segments);
}

static void write_traces(struct sky_json_text *json, const struct sky_packets *kept,
                         struct table *table, size_t limit)
{
    for (const struct sky_packet *packet = kept->first; packet != NULL; packet = packet->next)
        table->nodes[table->node_count++] = (struct node){.packet = packet};
    group(table, limit);
    sky_json_raw(json, SKY_TEXT("{\"traces\":["));
    for (size_t i = 0; i < table->trace_count; i++)
        write_trace(json, table, &table->traces[i]);
    sky_json_raw(json, SKY_TEXT("]}"));
}

char *sky_local_traces(struct sky_local *local, size_t limit)
{
    struct sky_json_text json = {0};
    struct table *table = calloc(1, sizeof(*table));

    if (table == NULL)
        return NULL;
    pthread_mutex_lock(&local->lock);
    table->nodes = calloc(local->kept.count + 1, sizeof(*table->nodes));
    if (table->nodes != NULL)
        write_traces(&json, &local->kept, table,
                     limit < SKY_LOCAL_MAX_ROWS ? limit : SKY_LOCAL_MAX_ROWS);
    pthread_mutex_unlock(&local->lock);
    free(table->nodes);
    free(table);
    return sky_json_take(&json);
}

static void write_segment(struct sky_json_text *json, const struct sky_packet *packet)
{
    Skywalking__V3__SegmentObject *segment = unpack(packet);

    if (segment == NULL) {
        json->failed = true;
        return;
    }
    sky_json_comma(json);
    sky_proto_to_json(json, &segment->base);
    skywalking__v3__segment_object__free_unpacked(segment, NULL);
}

char *sky_local_trace(struct sky_local *local, struct sky_text trace_id)
{
    struct sky_json_text json = {0};
    bool is_found = false;

    sky_json_raw(&json, SKY_TEXT("{"));
    sky_json_key(&json, "traceId");
    sky_json_string(&json, trace_id);
    sky_json_key(&json, "segments");
    sky_json_raw(&json, SKY_TEXT("["));
    pthread_mutex_lock(&local->lock);
    for (const struct sky_packet *packet = local->kept.first; packet != NULL;
         packet = packet->next) {
        if (!sky_text_equal(trace_id_of(packet), trace_id))
            continue;
        is_found = true;
        write_segment(&json, packet);
    }
    pthread_mutex_unlock(&local->lock);
    sky_json_raw(&json, SKY_TEXT("]}"));
    char *text = sky_json_take(&json);
    if (is_found)
        return text;
    free(text);
    return NULL;
}

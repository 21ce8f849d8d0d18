/* SPDX-License-Identifier: Apache-2.0 */
/* Packs on the request's path: one pass measures, one copies every string (clean, NUL-terminated,
 * as protobuf-c wants) into an arena that is on the stack for all but huge segments, protobuf-c
 * packs into the one block that lives on. */
#include "reporter/segment.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "propagation/utf8.h"
#include "reporter/packets.h"
#include "tracing.pb-c.h"

#define MAX_PACKED_BYTES (3u << 20)
#define MAX_OPERATION_BYTES 150
#define MAX_PEER_BYTES 200
#define STACK_BYTES 8192

#define SEGMENT_STRINGS 4
#define SPAN_STRINGS 2
#define REF_STRINGS 6

/* What an array costs in the arena with its pointers: each of the two may need 7 bytes to align. */
#define ARRAY_BYTES(type, count) ((count) * (sizeof(type) + sizeof(type *)) + 14)
/* A byte that is no UTF-8 becomes the three of U+FFFD. */
#define STRING_BYTES(count, text_bytes) ((count) + 3 * (text_bytes))

struct arena {
    char *next, *end;
};

static size_t measure_tags(const struct sky_tag *tags, size_t count)
{
    size_t text_bytes = 0;

    for (size_t i = 0; i < count; i++)
        text_bytes += tags[i].key.len + tags[i].value.len;
    return ARRAY_BYTES(Skywalking__V3__KeyStringValuePair, count) +
           STRING_BYTES(2 * count, text_bytes);
}

static size_t measure_span(const struct sky_span *span)
{
    size_t bytes = STRING_BYTES(SPAN_STRINGS, span->operation.len + span->peer.len) +
                   measure_tags(span->tags, span->tag_count) +
                   ARRAY_BYTES(Skywalking__V3__Log, span->log_count) +
                   ARRAY_BYTES(Skywalking__V3__SegmentReference, span->ref_count);

    for (size_t i = 0; i < span->log_count; i++)
        bytes += measure_tags(span->logs[i].data, span->logs[i].data_count);
    for (size_t i = 0; i < span->ref_count; i++) {
        const struct sky_ref *ref = &span->refs[i];
        bytes +=
            STRING_BYTES(REF_STRINGS, ref->trace_id.len + ref->segment_id.len + ref->service.len +
                                          ref->instance.len + ref->endpoint.len + ref->address.len);
    }
    return bytes;
}

static size_t measure(const struct sky_segment *segment)
{
    size_t bytes = STRING_BYTES(SEGMENT_STRINGS, segment->trace_id.len + segment->segment_id.len +
                                                     segment->service.len + segment->instance.len) +
                   ARRAY_BYTES(Skywalking__V3__SpanObject, segment->span_count);

    for (size_t i = 0; i < segment->span_count; i++)
        bytes += measure_span(&segment->spans[i]);
    return bytes;
}

static void *take(struct arena *arena, size_t bytes)
{
    char *taken = arena->next + (-(uintptr_t)arena->next & 7);

    arena->next = taken + bytes;
    assert(arena->next <= arena->end);
    return taken;
}

/* Copies while it checks; almost every string is printable ASCII, which needs no more. */
static bool copy_ascii(char *dst, struct sky_text text)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t odd = 0, word;
    size_t i = 0;

    for (; i + sizeof(word) <= text.len; i += sizeof(word)) {
        memcpy(&word, text.base + i, sizeof(word));
        memcpy(dst + i, &word, sizeof(word));
        odd |= (word | (word - ones)) & tops; /* a top bit or a NUL */
    }
    for (; i < text.len; i++) {
        dst[i] = text.base[i];
        odd |= (uint64_t)((signed char)dst[i] <= 0);
    }
    return odd == 0;
}

static char *put_text(struct arena *arena, struct sky_text text)
{
    char *dst = arena->next;
    size_t length = copy_ascii(dst, text) ? text.len : sky_utf8_clean(dst, text);

    dst[length] = '\0';
    arena->next = dst + length + 1;
    assert(arena->next <= arena->end);
    return dst;
}

static Skywalking__V3__KeyStringValuePair **put_tags(struct arena *arena,
                                                     const struct sky_tag *tags, size_t count)
{
    Skywalking__V3__KeyStringValuePair **list = take(arena, count * sizeof(*list));
    Skywalking__V3__KeyStringValuePair *pairs = take(arena, count * sizeof(*pairs));

    for (size_t i = 0; i < count; i++) {
        skywalking__v3__key_string_value_pair__init(&pairs[i]);
        pairs[i].key = put_text(arena, tags[i].key);
        pairs[i].value = put_text(arena, tags[i].value);
        list[i] = &pairs[i];
    }
    return list;
}

static void put_logs(struct arena *arena, const struct sky_span *span,
                     Skywalking__V3__SpanObject *out)
{
    Skywalking__V3__Log *logs = take(arena, span->log_count * sizeof(*logs));

    out->logs = take(arena, span->log_count * sizeof(*out->logs));
    out->n_logs = span->log_count;
    for (size_t i = 0; i < span->log_count; i++) {
        skywalking__v3__log__init(&logs[i]);
        logs[i].time = span->logs[i].at_ms;
        logs[i].n_data = span->logs[i].data_count;
        logs[i].data = put_tags(arena, span->logs[i].data, span->logs[i].data_count);
        out->logs[i] = &logs[i];
    }
}

static void put_refs(struct arena *arena, const struct sky_span *span,
                     Skywalking__V3__SpanObject *out)
{
    Skywalking__V3__SegmentReference *refs = take(arena, span->ref_count * sizeof(*refs));

    out->refs = take(arena, span->ref_count * sizeof(*out->refs));
    out->n_refs = span->ref_count;
    for (size_t i = 0; i < span->ref_count; i++) {
        const struct sky_ref *ref = &span->refs[i];
        skywalking__v3__segment_reference__init(&refs[i]);
        refs[i].reftype = (Skywalking__V3__RefType)ref->type;
        refs[i].traceid = put_text(arena, ref->trace_id);
        refs[i].parenttracesegmentid = put_text(arena, ref->segment_id);
        refs[i].parentspanid = ref->span_id;
        refs[i].parentservice = put_text(arena, ref->service);
        refs[i].parentserviceinstance = put_text(arena, ref->instance);
        refs[i].parentendpoint = put_text(arena, ref->endpoint);
        refs[i].networkaddressusedatpeer = put_text(arena, ref->address);
        out->refs[i] = &refs[i];
    }
}

static void put_span(struct arena *arena, const struct sky_span *span,
                     Skywalking__V3__SpanObject *out)
{
    skywalking__v3__span_object__init(out);
    out->spanid = span->id;
    out->parentspanid = span->parent;
    out->starttime = span->start_ms;
    out->endtime = span->end_ms;
    out->operationname = put_text(arena, sky_utf8_cut(span->operation, MAX_OPERATION_BYTES));
    out->peer = put_text(arena, sky_utf8_cut(span->peer, MAX_PEER_BYTES));
    out->spantype = (Skywalking__V3__SpanType)span->type;
    out->spanlayer = (Skywalking__V3__SpanLayer)span->layer;
    out->componentid = span->component;
    out->iserror = span->error;
    out->skipanalysis = span->skip_analysis;
    out->n_tags = span->tag_count;
    out->tags = put_tags(arena, span->tags, span->tag_count);
    if (span->log_count > 0)
        put_logs(arena, span, out);
    if (span->ref_count > 0)
        put_refs(arena, span, out);
}

static struct sky_packet *pack(const struct sky_segment *segment, struct arena *arena)
{
    Skywalking__V3__SegmentObject out;
    Skywalking__V3__SpanObject *spans = take(arena, segment->span_count * sizeof(*spans));

    skywalking__v3__segment_object__init(&out);
    out.spans = take(arena, segment->span_count * sizeof(*out.spans));
    out.n_spans = segment->span_count;
    out.traceid = put_text(arena, segment->trace_id);
    out.tracesegmentid = put_text(arena, segment->segment_id);
    out.service = put_text(arena, segment->service);
    out.serviceinstance = put_text(arena, segment->instance);
    out.issizelimited = segment->size_limited;
    for (size_t i = 0; i < segment->span_count; i++) {
        put_span(arena, &segment->spans[i], &spans[i]);
        out.spans[i] = &spans[i];
    }
    return sky_packet_of(&out.base);
}

static bool has_span_0(const struct sky_segment *segment)
{
    for (size_t i = 0; i < segment->span_count; i++) {
        if (segment->spans[i].id == 0)
            return true;
    }
    return false;
}

struct sky_packet *sky_packet_of(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > MAX_PACKED_BYTES)
        return NULL;
    struct sky_packet *packet = malloc(sizeof(*packet) + size);
    if (packet == NULL)
        return NULL;
    packet->next = NULL;
    packet->size = (uint32_t)protobuf_c_message_pack(message, packet->data);
    return packet;
}

struct sky_packet *sky_segment_pack(const struct sky_segment *segment)
{
    alignas(8) char stack[STACK_BYTES];
    char *heap = NULL;

    if (!has_span_0(segment))
        return NULL;
    size_t bytes = measure(segment);
    if (bytes > sizeof(stack)) {
        heap = malloc(bytes);
        if (heap == NULL)
            return NULL;
    }
    char *base = heap != NULL ? heap : stack;
    struct sky_packet *packet = pack(segment, &(struct arena){base, base + bytes});
    free(heap);
    return packet;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Packs on the request's path: one pass bounds the size, one writes (wire.h) into a buffer that is
 * on the stack for all but huge segments; the result is copied into the one block that lives on. */
#include "reporter/segment.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/packets.h"
#include "reporter/wire.h"
#include "tracing.pb-c.h"

#define MAX_PACKED_BYTES (3u << 20)
#define MAX_OPERATION_BYTES 150
#define MAX_PEER_BYTES 200
#define STACK_BYTES 8192

/* Numbers and lengths of each message beside its strings. */
#define SEGMENT_BYTES (1 * SKY_WIRE_NUMBER_BYTES)
#define SPAN_BYTES (11 * SKY_WIRE_NUMBER_BYTES)
#define REF_BYTES (3 * SKY_WIRE_NUMBER_BYTES)
#define LOG_BYTES (2 * SKY_WIRE_NUMBER_BYTES)
#define TAG_BYTES (1 * SKY_WIRE_NUMBER_BYTES)

static size_t bound_tags(const struct sky_tag *tags, size_t count)
{
    size_t bytes = count * TAG_BYTES;

    for (size_t i = 0; i < count; i++)
        bytes += SKY_WIRE_TEXT_BYTES(tags[i].key.len) + SKY_WIRE_TEXT_BYTES(tags[i].value.len);
    return bytes;
}

static size_t bound_ref(const struct sky_ref *ref)
{
    return REF_BYTES + SKY_WIRE_TEXT_BYTES(ref->trace_id.len) +
           SKY_WIRE_TEXT_BYTES(ref->segment_id.len) + SKY_WIRE_TEXT_BYTES(ref->service.len) +
           SKY_WIRE_TEXT_BYTES(ref->instance.len) + SKY_WIRE_TEXT_BYTES(ref->endpoint.len) +
           SKY_WIRE_TEXT_BYTES(ref->address.len);
}

static size_t bound_span(const struct sky_span *span)
{
    size_t bytes = SPAN_BYTES + SKY_WIRE_TEXT_BYTES(span->operation.len) +
                   SKY_WIRE_TEXT_BYTES(span->peer.len) + bound_tags(span->tags, span->tag_count);

    for (size_t i = 0; i < span->log_count; i++)
        bytes += LOG_BYTES + bound_tags(span->logs[i].data, span->logs[i].data_count);
    for (size_t i = 0; i < span->ref_count; i++)
        bytes += bound_ref(&span->refs[i]);
    return bytes;
}

static size_t bound_segment(const struct sky_segment *segment)
{
    size_t bytes = SEGMENT_BYTES + SKY_WIRE_TEXT_BYTES(segment->trace_id.len) +
                   SKY_WIRE_TEXT_BYTES(segment->segment_id.len) +
                   SKY_WIRE_TEXT_BYTES(segment->service.len) +
                   SKY_WIRE_TEXT_BYTES(segment->instance.len);

    for (size_t i = 0; i < segment->span_count; i++)
        bytes += bound_span(&segment->spans[i]);
    return bytes;
}

static void write_tags(struct sky_wire *wire, unsigned field, const struct sky_tag *tags,
                       size_t count)
{
    for (size_t i = count; i-- > 0;) {
        uint8_t *end = wire->at;
        sky_wire_text(wire, 2, tags[i].value);
        sky_wire_text(wire, 1, tags[i].key);
        sky_wire_wrap(wire, field, end);
    }
}

static void write_logs(struct sky_wire *wire, unsigned field, const struct sky_span *span)
{
    for (size_t i = span->log_count; i-- > 0;) {
        uint8_t *end = wire->at;
        write_tags(wire, 2, span->logs[i].data, span->logs[i].data_count);
        sky_wire_number(wire, 1, span->logs[i].at_ms);
        sky_wire_wrap(wire, field, end);
    }
}

static void write_refs(struct sky_wire *wire, unsigned field, const struct sky_span *span)
{
    for (size_t i = span->ref_count; i-- > 0;) {
        const struct sky_ref *ref = &span->refs[i];
        uint8_t *end = wire->at;
        sky_wire_text(wire, 8, ref->address);
        sky_wire_text(wire, 7, ref->endpoint);
        sky_wire_text(wire, 6, ref->instance);
        sky_wire_text(wire, 5, ref->service);
        sky_wire_number(wire, 4, ref->span_id);
        sky_wire_text(wire, 3, ref->segment_id);
        sky_wire_text(wire, 2, ref->trace_id);
        sky_wire_number(wire, 1, ref->type);
        sky_wire_wrap(wire, field, end);
    }
}

static void write_span(struct sky_wire *wire, const struct sky_span *span)
{
    sky_wire_number(wire, 14, span->skip_analysis);
    write_logs(wire, 13, span);
    write_tags(wire, 12, span->tags, span->tag_count);
    sky_wire_number(wire, 11, span->error);
    sky_wire_number(wire, 10, span->component);
    sky_wire_number(wire, 9, span->layer);
    sky_wire_number(wire, 8, span->type);
    sky_wire_text(wire, 7, sky_utf8_cut(span->peer, MAX_PEER_BYTES));
    sky_wire_text(wire, 6, sky_utf8_cut(span->operation, MAX_OPERATION_BYTES));
    write_refs(wire, 5, span);
    sky_wire_number(wire, 4, span->end_ms);
    sky_wire_number(wire, 3, span->start_ms);
    sky_wire_number(wire, 2, span->parent);
    sky_wire_number(wire, 1, span->id);
}

static void write_segment(struct sky_wire *wire, const struct sky_segment *segment)
{
    sky_wire_number(wire, 6, segment->size_limited);
    sky_wire_text(wire, 5, segment->instance);
    sky_wire_text(wire, 4, segment->service);
    for (size_t i = segment->span_count; i-- > 0;) {
        uint8_t *end = wire->at;
        write_span(wire, &segment->spans[i]);
        sky_wire_wrap(wire, 3, end);
    }
    sky_wire_text(wire, 2, segment->segment_id);
    sky_wire_text(wire, 1, segment->trace_id);
}

static bool has_span_0(const struct sky_segment *segment)
{
    for (size_t i = 0; i < segment->span_count; i++) {
        if (segment->spans[i].id == 0)
            return true;
    }
    return false;
}

struct sky_packet *sky_packet_new(enum sky_packet_kind kind, size_t size)
{
    if (size > MAX_PACKED_BYTES)
        return NULL;
    struct sky_packet *packet = malloc(sizeof(*packet) + size);
    if (packet == NULL)
        return NULL;
    packet->next = NULL;
    packet->size = (uint32_t)size;
    packet->kind = (uint8_t)kind;
    return packet;
}

struct sky_packet *sky_packet_of(enum sky_packet_kind kind, const ProtobufCMessage *message)
{
    struct sky_packet *packet = sky_packet_new(kind, protobuf_c_message_get_packed_size(message));

    if (packet != NULL)
        protobuf_c_message_pack(message, packet->data);
    return packet;
}

struct sky_packet *sky_segment_pack(const struct sky_segment *segment)
{
    uint8_t stack[STACK_BYTES], *buffer = stack;

    if (!has_span_0(segment))
        return NULL;
    size_t bound = bound_segment(segment);
    if (bound > sizeof(stack) && (buffer = malloc(bound)) == NULL)
        return NULL;
    struct sky_wire wire = {buffer + bound, buffer};
    write_segment(&wire, segment);
    size_t size = (size_t)(buffer + bound - wire.at);
    struct sky_packet *packet = sky_packet_new(SKY_PACKET_SEGMENT, size);
    if (packet != NULL)
        memcpy(packet->data, wire.at, size);
    if (buffer != stack)
        free(buffer);
    return packet;
}

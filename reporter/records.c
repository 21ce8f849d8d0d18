/* SPDX-License-Identifier: Apache-2.0 */
#include "reporter/records.h"

#include <stdlib.h>

#include "reporter/packets.h"
#include "reporter/wire.h"

/* Of a message within a message: tag and length. */
#define WRAP_BYTES SKY_WIRE_NUMBER_BYTES

/* A buffer of `bound` bytes that is written from its end. */
static bool begin(struct sky_wire *wire, size_t bound)
{
    wire->begin = malloc(bound);
    wire->at = wire->begin + bound;
    return wire->begin != NULL;
}

static struct sky_packet *end(const struct sky_wire *wire, enum sky_packet_kind kind, size_t bound)
{
    size_t size = (size_t)(wire->begin + bound - wire->at);
    struct sky_packet *packet = sky_packet_new(kind, size);

    if (packet != NULL)
        memcpy(packet->data, wire->at, size);
    free(wire->begin);
    return packet;
}

static size_t bound_text(struct sky_text text)
{
    return SKY_WIRE_TEXT_BYTES(text.len);
}

static size_t bound_by(const struct sky_reported_by *by)
{
    return bound_text(by->service) + bound_text(by->instance);
}

/* proto3 leaves a zero out; a negative one is none. */
static void write_double(struct sky_wire *wire, unsigned field, double value)
{
    uint64_t bits;

    if (value == 0)
        return;
    memcpy(&bits, &value, sizeof(bits));
    for (unsigned shift = 64; shift > 0; shift -= 8)
        *--wire->at = (uint8_t)(bits >> (shift - 8));
    *--wire->at = (uint8_t)(field << 3 | 1);
}

static size_t bound_log(const struct sky_reported_by *by, const struct sky_log_record *record)
{
    size_t bound = 8 * WRAP_BYTES + bound_by(by) + bound_text(record->text) +
                   bound_text(record->endpoint) + bound_text(record->trace_id) +
                   bound_text(record->segment_id) + SKY_WIRE_TEXT_BYTES(sizeof("text"));

    for (size_t i = 0; i < record->tag_count; i++)
        bound += WRAP_BYTES + bound_text(record->tags[i].key) + bound_text(record->tags[i].value);
    return bound;
}

static void write_tags(struct sky_wire *wire, const struct sky_log_record *record)
{
    uint8_t *all = wire->at;

    for (size_t i = record->tag_count; i-- > 0;) {
        uint8_t *one = wire->at;
        sky_wire_text(wire, 2, record->tags[i].value);
        sky_wire_text(wire, 1, record->tags[i].key);
        sky_wire_wrap(wire, 1, one);
    }
    sky_wire_wrap(wire, 7, all);
}

static void write_trace_context(struct sky_wire *wire, const struct sky_log_record *record)
{
    uint8_t *all = wire->at;

    if (record->trace_id.len == 0)
        return;
    sky_wire_number(wire, 3, record->span_id);
    sky_wire_text(wire, 2, record->segment_id);
    sky_wire_text(wire, 1, record->trace_id);
    sky_wire_wrap(wire, 6, all);
}

static void write_body(struct sky_wire *wire, const struct sky_log_record *record)
{
    uint8_t *all = wire->at;

    sky_wire_text(wire, 1, record->text);
    sky_wire_wrap(wire, 2, all);
    sky_wire_text(wire, 1, SKY_TEXT("text"));
    sky_wire_wrap(wire, 5, all);
}

struct sky_packet *sky_log_record_pack(const struct sky_reported_by *by,
                                       const struct sky_log_record *record)
{
    size_t bound = bound_log(by, record);
    struct sky_wire wire;

    if (!begin(&wire, bound))
        return NULL;
    write_tags(&wire, record);
    write_trace_context(&wire, record);
    write_body(&wire, record);
    sky_wire_text(&wire, 4, record->endpoint);
    sky_wire_text(&wire, 3, by->instance);
    sky_wire_text(&wire, 2, by->service);
    sky_wire_number(&wire, 1, record->at_ms);
    return end(&wire, SKY_PACKET_LOG, bound);
}

struct sky_packet *sky_event_pack(const struct sky_reported_by *by, const struct sky_event *event)
{
    size_t bound = 4 * WRAP_BYTES + bound_by(by) + bound_text(event->uuid) +
                   bound_text(event->name) + bound_text(event->message) +
                   SKY_WIRE_TEXT_BYTES(sizeof("GENERAL"));
    struct sky_wire wire;

    if (!begin(&wire, bound))
        return NULL;
    sky_wire_text(&wire, 9, SKY_TEXT("GENERAL")); /* refused without one */
    sky_wire_number(&wire, 8, event->end_ms);
    sky_wire_number(&wire, 7, event->start_ms);
    sky_wire_text(&wire, 5, event->message);
    sky_wire_text(&wire, 3, event->name);
    uint8_t *source = wire.at;
    sky_wire_text(&wire, 2, by->instance);
    sky_wire_text(&wire, 1, by->service);
    sky_wire_wrap(&wire, 2, source);
    sky_wire_text(&wire, 1, event->uuid);
    return end(&wire, SKY_PACKET_EVENT, bound);
}

/* Service, instance and time are needed once in a set; with each value, the first among them may be
 * any that OAP happens to know. */
static void write_meter(struct sky_wire *wire, const struct sky_reported_by *by, int64_t at_ms,
                        const struct sky_meter *meter)
{
    uint8_t *all = wire->at;

    sky_wire_number(wire, 5, at_ms);
    sky_wire_text(wire, 4, by->instance);
    sky_wire_text(wire, 3, by->service);
    uint8_t *single = wire->at;
    write_double(wire, 3, meter->value);
    sky_wire_text(wire, 1, sky_text_of(meter->name));
    sky_wire_wrap(wire, 1, single);
    sky_wire_wrap(wire, 1, all);
}

struct sky_packet *sky_meters_pack(const struct sky_reported_by *by, int64_t at_ms,
                                   const struct sky_meter *meters, size_t count)
{
    size_t bound = 1;
    struct sky_wire wire;

    for (size_t i = 0; i < count; i++)
        bound += 4 * WRAP_BYTES + bound_by(by) + bound_text(sky_text_of(meters[i].name));
    if (!begin(&wire, bound))
        return NULL;
    for (size_t i = count; i-- > 0;)
        write_meter(&wire, by, at_ms, &meters[i]);
    return end(&wire, SKY_PACKET_METERS, bound);
}

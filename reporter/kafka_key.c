/* SPDX-License-Identifier: Apache-2.0 */
#include "reporter/kafka_key.h"

#include <stdio.h>

/* Wire types of protobuf. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2 };

static bool take_varint(struct sky_text *rest, size_t *value)
{
    *value = 0;
    for (unsigned shift = 0; rest->len > 0 && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)*rest->base;
        *rest = sky_text(rest->base + 1, rest->len - 1);
        *value |= (size_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static bool skip(struct sky_text *rest, size_t length)
{
    if (length > rest->len)
        return false;
    *rest = sky_text(rest->base + length, rest->len - length);
    return true;
}

/* The first string or message under that number; empty when there is none. */
static struct sky_text find(struct sky_text message, size_t field)
{
    size_t tag, number;

    while (take_varint(&message, &tag)) {
        switch (tag & 7) {
        case VARINT:
            if (!take_varint(&message, &number))
                return sky_text("", 0);
            break;
        case FIXED64:
            if (!skip(&message, 8))
                return sky_text("", 0);
            break;
        case BYTES:
            if (!take_varint(&message, &number) || number > message.len)
                return sky_text("", 0);
            if (tag >> 3 == field)
                return sky_text(message.base, number);
            skip(&message, number);
            break;
        default:
            return sky_text("", 0);
        }
    }
    return sky_text("", 0);
}

static struct sky_text subject(enum sky_call_kind kind, struct sky_text message)
{
    struct sky_text segment;

    switch (kind) {
    case SKY_CALL_METERS: /* meterData, its serviceInstance */
        return find(find(message, 1), 4);
    case SKY_CALL_LOGS: /* traceContext, its traceSegmentId; or the service */
        segment = find(find(message, 6), 2);
        return segment.len > 0 ? segment : find(message, 2);
    default: /* traceSegmentId, serviceInstance */
        return find(message, 2);
    }
}

size_t sky_kafka_key(char key[SKY_KAFKA_KEY_BYTES], enum sky_call_kind kind,
                     const struct sky_packet *packet)
{
    struct sky_text text = subject(kind, sky_text((const char *)packet->data, packet->size));
    int length = snprintf(key, SKY_KAFKA_KEY_BYTES, "%s%.*s",
                          kind == SKY_CALL_PROPERTIES ? "register-" : "", (int)text.len, text.base);

    return length < SKY_KAFKA_KEY_BYTES ? (size_t)length : SKY_KAFKA_KEY_BYTES - 1;
}

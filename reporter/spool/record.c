/* SPDX-License-Identifier: Apache-2.0 */
/* Records are checked before anything in them is believed but the length, which is bounded. */
#include "reporter/spool/record.h"

#include <string.h>

#include "reporter/spool/crc32c.h"

#define MAGIC "SKYSPOOL"
#define MAGIC_BYTES 8
#define VERSION 1

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++, value >>= 8)
        at[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    while (size-- > 0)
        value = value << 8 | at[size];
    return value;
}

void sky_spool_head_write(uint8_t head[SKY_SPOOL_HEAD_BYTES])
{
    memcpy(head, MAGIC, MAGIC_BYTES);
    put(head + MAGIC_BYTES, VERSION, 4);
    put(head + MAGIC_BYTES + 4, sky_crc32c(0, head, MAGIC_BYTES + 4), 4);
}

bool sky_spool_head_read(const uint8_t *bytes, size_t count)
{
    uint8_t head[SKY_SPOOL_HEAD_BYTES];

    sky_spool_head_write(head);
    return count >= sizeof(head) && memcmp(bytes, head, sizeof(head)) == 0;
}

static uint32_t checksum(const uint8_t *head, const uint8_t *payload, size_t payload_bytes)
{
    uint32_t crc = sky_crc32c(0, head, 4);

    crc = sky_crc32c(crc, head + 8, 1);
    return sky_crc32c(crc, payload, payload_bytes);
}

void sky_record_head(uint8_t head[SKY_RECORD_HEAD_BYTES], uint8_t kind, const uint8_t *payload,
                     size_t payload_bytes)
{
    put(head, payload_bytes, 4);
    head[8] = kind;
    put(head + 4, checksum(head, payload, payload_bytes), 4);
}

enum sky_record_result sky_record_read(const uint8_t *bytes, size_t count,
                                       struct sky_record *record, size_t *needed)
{
    *needed = SKY_RECORD_HEAD_BYTES;
    if (count < SKY_RECORD_HEAD_BYTES)
        return SKY_RECORD_SHORT;
    size_t payload_bytes = (size_t)get(bytes, 4);
    if (payload_bytes > SKY_RECORD_MAX_PAYLOAD_BYTES)
        return SKY_RECORD_BROKEN;
    *needed += payload_bytes;
    if (count < *needed)
        return SKY_RECORD_SHORT;
    const uint8_t *payload = bytes + SKY_RECORD_HEAD_BYTES;
    if (checksum(bytes, payload, payload_bytes) != get(bytes + 4, 4))
        return SKY_RECORD_BROKEN;
    *record = (struct sky_record){bytes[8], payload, payload_bytes};
    return SKY_RECORD_WHOLE;
}

void sky_record_end(uint8_t bytes[SKY_RECORD_END_BYTES], uint64_t record_count)
{
    put(bytes + SKY_RECORD_HEAD_BYTES, record_count, 8);
    sky_record_head(bytes, SKY_RECORD_KIND_END, bytes + SKY_RECORD_HEAD_BYTES, 8);
}

bool sky_record_end_count(const struct sky_record *record, uint64_t *record_count)
{
    if (record->kind != SKY_RECORD_KIND_END || record->payload_bytes != 8)
        return false;
    *record_count = get(record->payload, 8);
    return true;
}

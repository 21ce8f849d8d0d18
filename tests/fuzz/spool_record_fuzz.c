/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzer of the spool's records: a file of any bytes is read to its end or to where it is broken,
 * and what is read is what would be written. The first byte chooses whether the checksums are made
 * right first, since no mutation finds them. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_right(uint8_t *bytes, size_t size)
{
    struct sky_record record;
    size_t needed, payload_bytes;

    while (sky_record_read(bytes, size, &record, &needed) == SKY_RECORD_BROKEN) {
        payload_bytes = needed - SKY_RECORD_HEAD_BYTES;
        if (needed > size || needed == SKY_RECORD_HEAD_BYTES)
            return;
        sky_record_head(bytes, bytes[8], bytes + SKY_RECORD_HEAD_BYTES, payload_bytes);
        bytes += needed;
        size -= needed;
    }
}

static void check(const uint8_t *bytes, const struct sky_record *record, size_t needed)
{
    uint8_t head[SKY_RECORD_HEAD_BYTES];
    uint64_t count;

    assert(record->payload == bytes + SKY_RECORD_HEAD_BYTES);
    assert(record->payload_bytes == needed - SKY_RECORD_HEAD_BYTES);
    sky_record_head(head, record->kind, record->payload, record->payload_bytes);
    assert(memcmp(head, bytes, sizeof(head)) == 0);
    if (sky_record_end_count(record, &count))
        assert(needed == SKY_RECORD_END_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_record record;
    size_t needed, offset = 0;

    if (size < 1)
        return 0;
    (void)sky_spool_head_read(data, size);
    uint8_t *bytes = malloc(size);
    assert(bytes != NULL);
    memcpy(bytes, data + 1, --size);
    if ((data[0] & 1) != 0)
        make_right(bytes, size);
    while (sky_record_read(bytes + offset, size - offset, &record, &needed) == SKY_RECORD_WHOLE) {
        check(bytes + offset, &record, needed);
        offset += needed;
    }
    free(bytes);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of the spool is made of. Bytes in, bytes out; all numbers are little-endian.
 *
 *   file    head, records, and, unless its process was killed, one end record
 *   head    "SKYSPOOL", version (4 bytes), CRC32C of these (4)
 *   record  length of the payload (4), CRC32C of all else (4), kind (1), payload
 *   end     a record of kind 255 whose payload is the number of records before it (8) */
#ifndef SKY_REPORTER_SPOOL_RECORD_H
#define SKY_REPORTER_SPOOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKY_SPOOL_HEAD_BYTES 16
#define SKY_RECORD_HEAD_BYTES 9
#define SKY_RECORD_END_BYTES (SKY_RECORD_HEAD_BYTES + 8)
/* No message is as long (segment.h): what says so is broken. */
#define SKY_RECORD_MAX_PAYLOAD_BYTES (4u << 20)
#define SKY_RECORD_KIND_END 255 /* others: enum sky_packet_kind */

struct sky_record {
    uint8_t kind;
    const uint8_t *payload; /* within the bytes given */
    size_t payload_bytes;
};

enum sky_record_result {
    SKY_RECORD_WHOLE,
    SKY_RECORD_SHORT, /* right as far as it goes, but more bytes are needed */
    SKY_RECORD_BROKEN
};

/* sky_spool_head_write, sky_spool_head_read: the head of a file; false for that of another version
 * or no head at all. */
void sky_spool_head_write(uint8_t head[SKY_SPOOL_HEAD_BYTES]);
bool sky_spool_head_read(const uint8_t *bytes, size_t count);

/* sky_record_head: what goes before a payload. */
void sky_record_head(uint8_t head[SKY_RECORD_HEAD_BYTES], uint8_t kind, const uint8_t *payload,
                     size_t payload_bytes);

/* sky_record_read: the record at the begin of the bytes. Filled only when it is whole. When it is
 * short and its head was there, `needed` is how many bytes it has in all, else what a head has. */
enum sky_record_result sky_record_read(const uint8_t *bytes, size_t count,
                                       struct sky_record *record, size_t *needed);

/* sky_record_end, sky_record_end_count: a whole end record, and what such a one says. */
void sky_record_end(uint8_t bytes[SKY_RECORD_END_BYTES], uint64_t record_count);
bool sky_record_end_count(const struct sky_record *record, uint64_t *record_count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* CRC32C (Castagnoli, RFC 3720 B.4): by the processor's instruction where it has one. */
#ifndef SKY_REPORTER_SPOOL_CRC32C_H
#define SKY_REPORTER_SPOOL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* sky_crc32c: of the bytes, going on from `crc`: 0 at the begin. Any thread. */
uint32_t sky_crc32c(uint32_t crc, const void *bytes, size_t count);

/* sky_crc32c_portable: the same without the instruction; for processors that lack it. */
uint32_t sky_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

#endif

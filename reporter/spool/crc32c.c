/* SPDX-License-Identifier: Apache-2.0 */
/* zlib has the other CRC32 only, and the libraries for this one bring a C++ runtime along. */
#include "reporter/spool/crc32c.h"

#include <string.h>

uint32_t sky_crc32c_portable(uint32_t crc, const void *bytes, size_t count)
{
    /* Four bits at a time; the polynomial is 0x82f63b78, reflected. */
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                       0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                       0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    const uint8_t *at = bytes;

    crc = ~crc;
    for (; count > 0; count--) {
        crc ^= *at++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t with_sse42(uint32_t crc, const void *bytes,
                                                             size_t count)
{
    const uint8_t *at = bytes;
    uint64_t word, wide = ~crc;

    for (; count >= sizeof(word); count -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count > 0; count--)
        crc = __builtin_ia32_crc32qi(crc, *at++);
    return ~crc;
}

uint32_t sky_crc32c(uint32_t crc, const void *bytes, size_t count)
{
    return __builtin_cpu_supports("sse4.2") ? with_sse42(crc, bytes, count)
                                            : sky_crc32c_portable(crc, bytes, count);
}
#else
uint32_t sky_crc32c(uint32_t crc, const void *bytes, size_t count)
{
    return sky_crc32c_portable(crc, bytes, count);
}
#endif

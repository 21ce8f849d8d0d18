/* SPDX-License-Identifier: Apache-2.0 */
/* Ids from xoshiro256** (Blackman and Vigna): four words of state, no lock, no system call. */
#include "propagation/ids.h"

#include <endian.h>

static uint64_t rotate_left(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

void sky_ids_init(struct sky_ids *ids, const uint8_t entropy[32])
{
    memcpy(ids->state, entropy, sizeof(ids->state));
    if ((ids->state[0] | ids->state[1] | ids->state[2] | ids->state[3]) == 0)
        ids->state[0] = UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t sky_ids_random(struct sky_ids *ids)
{
    uint64_t *s = ids->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

struct sky_id sky_ids_next(struct sky_ids *ids)
{
    struct sky_id id;

    id.high = sky_ids_random(ids);
    id.low = sky_ids_random(ids);
    return id;
}

/* Eight digits at once: each nibble gets a byte of its own, then 0..9 and a..f their offsets. */
static void format_half(uint32_t half, char dst[8])
{
    uint64_t nibbles = half;

    nibbles = (nibbles << 16 | nibbles) & UINT64_C(0x0000ffff0000ffff);
    nibbles = (nibbles << 8 | nibbles) & UINT64_C(0x00ff00ff00ff00ff);
    nibbles = (nibbles << 4 | nibbles) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    uint64_t letters = (nibbles + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    uint64_t digits = htobe64(nibbles + UINT64_C(0x3030303030303030) + letters * ('a' - '0' - 10));

    memcpy(dst, &digits, sizeof(digits));
}

static void format_word(uint64_t word, char *dst)
{
    format_half((uint32_t)(word >> 32), dst);
    format_half((uint32_t)word, dst + 8);
}

void sky_id_format(struct sky_id id, char dst[SKY_ID_HEX])
{
    format_word(id.high, dst);
    format_word(id.low, dst + SKY_ID_HEX / 2);
}

static bool parse_word(const char *src, uint64_t *word)
{
    uint64_t value = 0;

    for (size_t i = 0; i < SKY_ID_HEX / 2; ++i) {
        char c = src[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *word = value;
    return true;
}

bool sky_id_parse(struct sky_text text, struct sky_id *id)
{
    return text.len == SKY_ID_HEX && parse_word(text.base, &id->high) &&
           parse_word(text.base + SKY_ID_HEX / 2, &id->low);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 by the table of well-formed sequences (RFC 3629, section 4), eight ASCII bytes at a time.
 */
#include "propagation/utf8.h"

#include <stdint.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the run of bytes 0x01..0x7f at the start. */
static size_t ascii_run(const uint8_t *p, size_t len)
{
    size_t done = 0;
    uint64_t word;

    for (; len - done >= sizeof(word); done += sizeof(word)) {
        memcpy(&word, p + done, sizeof(word));
        /* The subtraction sets a top bit for 0x00 and for bytes above 0x80, the word itself for
         * those from 0x80 on; bytes in between set none and lend none to their neighbour. */
        if ((((word - UINT64_C(0x0101010101010101)) | word) & UINT64_C(0x8080808080808080)) != 0)
            break;
    }
    while (done < len && (uint8_t)(p[done] - 1) < 0x7f)
        ++done;
    return done;
}

/* Bytes that follow a lead byte, and the range that the first of them is limited to: this is where
 * overlong forms, surrogates and what lies above U+10FFFF are refused. */
static size_t followers(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *low = 0xa0;
        if (lead == 0xed)
            *high = 0x9f;
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *low = 0x90;
        if (lead == 0xf4)
            *high = 0x8f;
        return 3;
    }
    return 0;
}

/* Length of the character at p, or of the maximal ill-formed part, which *sound tells apart. */
static size_t character(const uint8_t *p, size_t left, bool *sound)
{
    uint8_t low, high;
    size_t wanted, n;

    if (p[0] < 0x80) {
        *sound = p[0] != 0;
        return 1;
    }
    wanted = followers(p[0], &low, &high);
    for (n = 1; n <= wanted && n < left; ++n) {
        if (p[n] < low || p[n] > high)
            break;
        low = 0x80;
        high = 0xbf;
    }
    *sound = wanted != 0 && n == wanted + 1;
    return n;
}

bool sky_utf8_valid(struct sky_text text)
{
    const uint8_t *p = (const uint8_t *)text.base;
    size_t left = text.len;

    while (left != 0) {
        size_t n = ascii_run(p, left);
        bool sound = true;
        if (n == 0)
            n = character(p, left, &sound);
        if (!sound)
            return false;
        p += n;
        left -= n;
    }
    return true;
}

size_t sky_utf8_clean(char *dst, struct sky_text text)
{
    const uint8_t *p = (const uint8_t *)text.base;
    size_t left = text.len;
    char *out = dst;

    while (left != 0) {
        size_t n = ascii_run(p, left);
        bool sound = true;
        if (n == 0)
            n = character(p, left, &sound);
        if (sound) {
            memcpy(out, p, n);
            out += n;
        } else if (p[0] != 0) {
            memcpy(out, REPLACEMENT, sizeof(REPLACEMENT) - 1);
            out += sizeof(REPLACEMENT) - 1;
        }
        p += n;
        left -= n;
    }
    return (size_t)(out - dst);
}

static bool continues(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

struct sky_text sky_utf8_cut(struct sky_text text, size_t limit)
{
    size_t len = limit;

    if (text.len <= limit)
        return text;
    /* No character has more than three bytes after its lead: text that goes on with continuation
     * bytes is ill-formed, and no place in it is better than the limit. */
    while (len != 0 && limit - len < 3 && continues(text.base[len]))
        --len;
    if (continues(text.base[len]))
        len = limit;
    return sky_text(text.base, len);
}

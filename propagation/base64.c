/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 by table: sw8 takes six encodings and up to six decodings on each request's path. */
#include "propagation/base64.h"

#include <stdint.h>

#define BAD 0xff

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The value of each character, shifted by one so that 0 stands for a character outside the alphabet
 * and the table needs no rows for those. */
static const uint8_t values_plus_one[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static uint8_t value_of(char c)
{
    return (uint8_t)(values_plus_one[(uint8_t)c] - 1); /* BAD when outside the alphabet */
}

size_t sky_base64_encode(char *dst, struct sky_text bytes)
{
    const uint8_t *src = (const uint8_t *)bytes.base;
    char *out = dst;
    size_t left = bytes.len;

    for (; left >= 3; left -= 3, src += 3, out += 4) {
        out[0] = alphabet[src[0] >> 2];
        out[1] = alphabet[(src[0] & 0x03) << 4 | src[1] >> 4];
        out[2] = alphabet[(src[1] & 0x0f) << 2 | src[2] >> 6];
        out[3] = alphabet[src[2] & 0x3f];
    }
    if (left != 0) {
        uint8_t second = left == 2 ? src[1] : 0;
        out[0] = alphabet[src[0] >> 2];
        out[1] = alphabet[(src[0] & 0x03) << 4 | second >> 4];
        out[2] = left == 2 ? alphabet[(second & 0x0f) << 2] : '=';
        out[3] = '=';
        out += 4;
    }
    return (size_t)(out - dst);
}

/* The last group, which may be padded. Returns the bytes written, or -1. */
static ssize_t decode_last(char *dst, const char *src)
{
    uint8_t a = value_of(src[0]), b = value_of(src[1]), c, d;

    if (a == BAD || b == BAD)
        return -1;
    dst[0] = (char)(a << 2 | b >> 4);
    if (src[2] == '=')
        return src[3] == '=' && (b & 0x0f) == 0 ? 1 : -1;
    if ((c = value_of(src[2])) == BAD)
        return -1;
    dst[1] = (char)(b << 4 | c >> 2);
    if (src[3] == '=')
        return (c & 0x03) == 0 ? 2 : -1;
    if ((d = value_of(src[3])) == BAD)
        return -1;
    dst[2] = (char)(c << 6 | d);
    return 3;
}

ssize_t sky_base64_decode(char *dst, struct sky_text text)
{
    const char *src = text.base;
    char *out = dst;

    if (text.len == 0)
        return 0;
    if (text.len % 4 != 0)
        return -1;
    for (const char *last = src + text.len - 4; src != last; src += 4, out += 3) {
        uint8_t a = value_of(src[0]), b = value_of(src[1]), c = value_of(src[2]),
                d = value_of(src[3]);
        /* Values stay below 64, so only BAD sets the top bit. */
        if (((a | b | c | d) & 0x80) != 0)
            return -1;
        out[0] = (char)(a << 2 | b >> 4);
        out[1] = (char)(b << 4 | c >> 2);
        out[2] = (char)(c << 6 | d);
    }
    ssize_t tail = decode_last(out, src);
    return tail < 0 ? -1 : out - dst + tail;
}

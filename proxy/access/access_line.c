/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/access/access_line.h"

#include <string.h>
#include <time.h>

#include "propagation/utf8.h"

/* Bytes of a field that are written; a request line may be longer than any reader wants. */
#define TARGET_BYTES 4096
#define FIELD_BYTES 1024
#define WORD_BYTES 256

/* The longest form of a byte is \uHHHH; numbers, keys and signs are below 1 KiB. */
_Static_assert((TARGET_BYTES + 2 * FIELD_BYTES + 9 * WORD_BYTES) * 6 + 1024 <=
                   SKY_ACCESS_LINE_BYTES,
               "any line fits");

static const char hex[] = "0123456789abcdef";

static char *put(char *at, struct sky_text text)
{
    if (text.len != 0)
        memcpy(at, text.base, text.len);
    return at + text.len;
}

static char *put_number(char *at, uint64_t number)
{
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return put(at, sky_text(digits + first, sizeof(digits) - first));
}

/* With leading zeros. */
static char *put_digits(char *at, unsigned number, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + count;
}

static struct tm utc_of(int64_t time_us)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    return utc;
}

static char *put_clock(char *at, const struct tm *utc)
{
    at = put_digits(at, (unsigned)utc->tm_hour, 2);
    *at++ = ':';
    at = put_digits(at, (unsigned)utc->tm_min, 2);
    *at++ = ':';
    return put_digits(at, (unsigned)utc->tm_sec, 2);
}

/* ---- common and combined ---- */

/* A field of at most `limit` bytes, escaped; `-` when there is none. */
static char *put_plain(char *at, struct sky_text text, size_t limit)
{
    if (text.len == 0) {
        *at++ = '-';
        return at;
    }
    for (size_t i = 0; i < text.len && i < limit; i++) {
        unsigned char byte = (unsigned char)text.base[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            *at++ = (char)byte;
            continue;
        }
        *at++ = '\\';
        *at++ = 'x';
        *at++ = hex[byte >> 4];
        *at++ = hex[byte & 15];
    }
    return text.len > limit ? put(at, SKY_TEXT("...")) : at;
}

/* [24/Nov/2026:09:41:00 +0000] */
static char *put_common_time(char *at, int64_t time_us)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm utc = utc_of(time_us);
    *at++ = '[';
    at = put_digits(at, (unsigned)utc.tm_mday, 2);
    *at++ = '/';
    at = put(at, sky_text(months[utc.tm_mon], 3));
    *at++ = '/';
    at = put_digits(at, (unsigned)utc.tm_year + 1900, 4);
    *at++ = ':';
    return put(put_clock(at, &utc), SKY_TEXT(" +0000]"));
}

static char *put_common(char *at, const struct sky_access *access)
{
    at = put(put_plain(at, access->client, WORD_BYTES), SKY_TEXT(" - - "));
    at = put(put_common_time(at, access->received_us), SKY_TEXT(" \""));
    if (access->method.len != 0) {
        at = put(put_plain(at, access->method, WORD_BYTES), SKY_TEXT(" "));
        at = put(put_plain(at, access->target, TARGET_BYTES), SKY_TEXT(" "));
    }
    at = put(put_plain(at, access->protocol, WORD_BYTES), SKY_TEXT("\" "));
    at = put(put_number(at, (unsigned)access->status), SKY_TEXT(" "));
    return put_number(at, access->bytes);
}

static char *put_combined(char *at, const struct sky_access *access)
{
    at = put(put_common(at, access), SKY_TEXT(" \""));
    at = put(put_plain(at, access->referer, FIELD_BYTES), SKY_TEXT("\" \""));
    return put(put_plain(at, access->user_agent, FIELD_BYTES), SKY_TEXT("\""));
}

/* ---- JSON ---- */

static char *put_u(char *at, unsigned unit)
{
    *at++ = '\\';
    *at++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *at++ = hex[unit >> shift & 15];
    return at;
}

/* The next character of valid UTF-8. */
static unsigned take_character(struct sky_text *text)
{
    unsigned char first = (unsigned char)text->base[0];
    size_t more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    unsigned character = more == 0 ? first : first & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++)
        character = character << 6 | ((unsigned char)text->base[i] & 0x3f);
    *text = sky_text(text->base + more + 1, text->len - more - 1);
    return character;
}

static char *put_character(char *at, unsigned character)
{
    if (character >= 0x10000) {
        at = put_u(at, 0xd800 + ((character - 0x10000) >> 10));
        return put_u(at, 0xdc00 + ((character - 0x10000) & 0x3ff));
    }
    if (character < 0x20 || character >= 0x7f)
        return put_u(at, character);
    if (character == '"' || character == '\\')
        *at++ = '\\';
    *at++ = (char)character;
    return at;
}

static char *put_string(char *at, struct sky_text text, size_t limit)
{
    bool cut = text.len > limit;
    bool utf8 = sky_utf8_valid(text);
    if (cut)
        text = utf8 ? sky_utf8_cut(text, limit) : sky_text(text.base, limit);
    *at++ = '"';
    while (text.len != 0) {
        if (utf8) {
            at = put_character(at, take_character(&text));
            continue;
        }
        at = put_character(at, (unsigned char)text.base[0]);
        text = sky_text(text.base + 1, text.len - 1);
    }
    return put(at, cut ? SKY_TEXT("...\"") : SKY_TEXT("\""));
}

/* key: `,"name":` */
static char *put_member(char *at, struct sky_text key, struct sky_text value, size_t limit)
{
    return value.len == 0 ? at : put_string(put(at, key), value, limit);
}

/* Milliseconds with the microseconds as decimals. */
static char *put_time(char *at, struct sky_text key, int64_t time_us)
{
    if (time_us < 0)
        return at;
    at = put_number(put(at, key), (uint64_t)time_us / 1000);
    *at++ = '.';
    return put_digits(at, (unsigned)(time_us % 1000), 3);
}

/* 2026-11-24T09:41:00.123456Z */
static char *put_json_time(char *at, int64_t time_us)
{
    struct tm utc = utc_of(time_us);
    at = put_digits(at, (unsigned)utc.tm_year + 1900, 4);
    *at++ = '-';
    at = put_digits(at, (unsigned)utc.tm_mon + 1, 2);
    *at++ = '-';
    at = put_digits(at, (unsigned)utc.tm_mday, 2);
    *at++ = 'T';
    at = put_clock(at, &utc);
    *at++ = '.';
    at = put_digits(at, (unsigned)(time_us % 1000000), 6);
    *at++ = 'Z';
    return at;
}

static char *put_json(char *at, const struct sky_access *access)
{
    at = put_json_time(put(at, SKY_TEXT("{\"time\":\"")), access->received_us);
    *at++ = '"';
    at = put_member(at, SKY_TEXT(",\"client\":"), access->client, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"method\":"), access->method, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"target\":"), access->target, TARGET_BYTES);
    at = put_member(at, SKY_TEXT(",\"protocol\":"), access->protocol, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"host\":"), access->host, WORD_BYTES);
    at = put_number(put(at, SKY_TEXT(",\"status\":")), (unsigned)access->status);
    at = put_number(put(at, SKY_TEXT(",\"bytes\":")), access->bytes);
    at = put_member(at, SKY_TEXT(",\"referer\":"), access->referer, FIELD_BYTES);
    at = put_member(at, SKY_TEXT(",\"user_agent\":"), access->user_agent, FIELD_BYTES);
    at = put_member(at, SKY_TEXT(",\"trace\":"), access->trace_id, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"segment\":"), access->segment_id, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"operation\":"), access->operation, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"upstream\":"), access->upstream, WORD_BYTES);
    at = put_member(at, SKY_TEXT(",\"failure\":"), access->failure, WORD_BYTES);
    if (access->client_gone)
        at = put(at, SKY_TEXT(",\"client_gone\":true"));
    at = put_time(at, SKY_TEXT(",\"queue_ms\":"), access->queue_us);
    at = put_time(at, SKY_TEXT(",\"connect_ms\":"), access->connect_us);
    at = put_time(at, SKY_TEXT(",\"first_byte_ms\":"), access->first_byte_us);
    at = put_time(at, SKY_TEXT(",\"total_ms\":"), access->total_us);
    return put(at, SKY_TEXT("}"));
}

size_t sky_access_line(enum sky_access_format format, const struct sky_access *access,
                       char dst[SKY_ACCESS_LINE_BYTES])
{
    char *at = dst;
    switch (format) {
    case SKY_ACCESS_COMMON:
        at = put_common(at, access);
        break;
    case SKY_ACCESS_COMBINED:
        at = put_combined(at, access);
        break;
    case SKY_ACCESS_JSON:
        at = put_json(at, access);
        break;
    }
    *at++ = '\n';
    return (size_t)(at - dst);
}

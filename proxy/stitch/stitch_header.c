/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_header.h"

#include "propagation/utf8.h"

/* 15 digits of microseconds are 31 years: no overflow anywhere, and no clock is that wrong. */
#define MAX_TIME_DIGITS 15
#define MAX_COUNT_DIGITS 9

enum { VERSION, COMPONENT, BEGIN, DURATION, MORE, HANDLER, OPERATION, FIELD_COUNT };

/* Returns the number of fields, FIELD_COUNT + 1 for more. */
static size_t split(struct sky_text value, struct sky_text fields[FIELD_COUNT])
{
    size_t count = 0;
    for (;;) {
        const char *end = value.len != 0 ? memchr(value.base, ';', value.len) : NULL;
        size_t len = end != NULL ? (size_t)(end - value.base) : value.len;
        if (count == FIELD_COUNT)
            return FIELD_COUNT + 1;
        fields[count++] = sky_text(value.base, len);
        if (end == NULL)
            return count;
        value = sky_text(end + 1, value.len - len - 1);
    }
}

static bool parse_number(struct sky_text text, size_t max_digits, int64_t *number)
{
    if (text.len == 0 || text.len > max_digits)
        return false;
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return false;
        n = n * 10 + (text.base[i] - '0');
    }
    *number = n;
    return true;
}

/* `0`, `1`, `+`, `?`, each also with `!k`. */
static bool parse_more(struct sky_text text, struct sky_app_header *header)
{
    int64_t announced = 0, lost = 0;
    const char *mark = text.len != 0 ? memchr(text.base, '!', text.len) : NULL;
    if (mark != NULL) {
        size_t before = (size_t)(mark - text.base);
        if (!parse_number(sky_text(mark + 1, text.len - before - 1), MAX_COUNT_DIGITS, &lost))
            return false;
        text.len = before;
    }
    header->if_broken = sky_text_equal(text, SKY_TEXT("?"));
    header->stream = header->if_broken || sky_text_equal(text, SKY_TEXT("+"));
    if (!header->stream && !parse_number(text, MAX_COUNT_DIGITS, &announced))
        return false;
    if (announced > SKY_APP_MAX_PARTS)
        return false;
    header->announced = (uint32_t)announced;
    header->lost = (uint32_t)lost;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool is_plain(struct sky_text text)
{
    bool plain = true;
    for (size_t i = 0; i < text.len; i++)
        plain &= text.base[i] >= 0x21 && text.base[i] <= 0x7e; /* no branch: in one go by SIMD */
    return plain;
}

/* Decodes %XX into storage. The result is text: UTF-8 without NUL. */
static bool decode(struct sky_text text, char *storage, struct sky_text *decoded)
{
    *decoded = sky_text(storage, text.len);
    if (text.len == 0)
        return true;
    if (!is_plain(text))
        return false;
    const char *escape = memchr(text.base, '%', text.len);
    size_t len = escape != NULL ? (size_t)(escape - text.base) : text.len;
    memcpy(storage, text.base, len);
    if (escape == NULL)
        return true;
    for (size_t i = len; i < text.len; i++) {
        char c = text.base[i];
        if (c == '%') {
            if (text.len - i < 3)
                return false;
            int high = hex_digit(text.base[i + 1]), low = hex_digit(text.base[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        storage[len++] = c;
    }
    *decoded = sky_text(storage, len);
    return sky_utf8_valid(*decoded);
}

static bool parse_fields(const struct sky_text fields[FIELD_COUNT], char *storage,
                         struct sky_app_header *header)
{
    int64_t component;
    if (!parse_number(fields[COMPONENT], MAX_COUNT_DIGITS, &component))
        return false;
    header->component = (int32_t)component;
    if (!parse_number(fields[BEGIN], MAX_TIME_DIGITS, &header->begin_us))
        return false;
    if (!parse_number(fields[DURATION], MAX_TIME_DIGITS, &header->duration_us))
        return false;
    if (!parse_more(fields[MORE], header))
        return false;
    if (!decode(fields[HANDLER], storage, &header->handler))
        return false;
    return decode(fields[OPERATION], storage + header->handler.len, &header->operation);
}

enum sky_stitch_header_result sky_stitch_header_parse(struct sky_text value, char *storage,
                                                      struct sky_app_header *header)
{
    struct sky_text fields[FIELD_COUNT];
    int64_t version;

    if (value.len > SKY_STITCH_HEADER_MAX_BYTES)
        return SKY_STITCH_HEADER_BAD;
    size_t count = split(value, fields);
    if (!parse_number(fields[VERSION], MAX_COUNT_DIGITS, &version))
        return SKY_STITCH_HEADER_BAD;
    if (version != 1)
        return SKY_STITCH_HEADER_VERSION;
    if (count != FIELD_COUNT || !parse_fields(fields, storage, header))
        return SKY_STITCH_HEADER_BAD;
    return SKY_STITCH_HEADER_OK;
}

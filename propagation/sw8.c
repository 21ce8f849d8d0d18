/* SPDX-License-Identifier: Apache-2.0 */
/* sw8 is parsed strictly and built strictly: what one peer mends, another one fails the user's
 * request for, so only what all of them read the same way counts as valid. */
#include "propagation/sw8.h"

#include "propagation/base64.h"
#include "propagation/utf8.h"

#define FIELD_COUNT 8

/* Optional whitespace around a field value is no part of it (RFC 9110, 5.5). */
static struct sky_text without_blanks(struct sky_text value)
{
    while (value.len != 0 && (value.base[0] == ' ' || value.base[0] == '\t')) {
        ++value.base;
        --value.len;
    }
    while (value.len != 0 &&
           (value.base[value.len - 1] == ' ' || value.base[value.len - 1] == '\t'))
        --value.len;
    return value;
}

/* True when value has exactly FIELD_COUNT fields and none is empty. */
static bool split(struct sky_text value, struct sky_text fields[FIELD_COUNT])
{
    const char *start = value.base, *end = value.base + value.len;

    for (size_t i = 0; i < FIELD_COUNT; ++i) {
        const char *dash = memchr(start, '-', (size_t)(end - start));
        if ((dash == NULL) != (i == FIELD_COUNT - 1))
            return false;
        fields[i] = sky_text(start, (size_t)((dash != NULL ? dash : end) - start));
        if (fields[i].len == 0)
            return false;
        if (dash != NULL)
            start = dash + 1;
    }
    return true;
}

/* Digits alone: other readers differ about signs and blanks. */
static bool parse_span_id(struct sky_text text, int32_t *span_id)
{
    int64_t value = 0;

    for (size_t i = 0; i < text.len; ++i) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return false;
        value = value * 10 + (text.base[i] - '0');
        if (value > INT32_MAX)
            return false;
    }
    *span_id = (int32_t)value;
    return true;
}

/* Decodes field to *cursor, which moves behind it; false unless it is text of 1..limit bytes. */
static bool decode_text(struct sky_text field, size_t limit, char **cursor, struct sky_text *text)
{
    ssize_t len = sky_base64_decode(*cursor, field);

    if (len <= 0 || (size_t)len > limit)
        return false;
    *text = sky_text(*cursor, (size_t)len);
    *cursor += len;
    return sky_utf8_valid(*text);
}

bool sky_sw8_parse(struct sky_text value, char storage[SKY_SW8_MAX_BYTES], struct sky_sw8 *sw8)
{
    struct sky_text fields[FIELD_COUNT];
    char *cursor = storage;

    value = without_blanks(value);
    if (value.len == 0 || value.len > SKY_SW8_MAX_BYTES || !split(value, fields))
        return false;
    if (fields[0].len != 1 || (fields[0].base[0] != '0' && fields[0].base[0] != '1'))
        return false;
    sw8->sampled = fields[0].base[0] == '1';
    /* Decoded text is shorter than its base64, so storage holds all six. */
    return decode_text(fields[1], SKY_SW8_MAX_ID_BYTES, &cursor, &sw8->trace_id) &&
           decode_text(fields[2], SKY_SW8_MAX_ID_BYTES, &cursor, &sw8->segment_id) &&
           parse_span_id(fields[3], &sw8->span_id) &&
           decode_text(fields[4], SKY_SW8_MAX_BYTES, &cursor, &sw8->service) &&
           decode_text(fields[5], SKY_SW8_MAX_BYTES, &cursor, &sw8->instance) &&
           decode_text(fields[6], SKY_SW8_MAX_BYTES, &cursor, &sw8->endpoint) &&
           decode_text(fields[7], SKY_SW8_MAX_BYTES, &cursor, &sw8->address);
}

/* The limit comes first: lengths within it cannot make the sum of build run over. */
static bool is_text(struct sky_text text, size_t limit)
{
    return text.len != 0 && text.len <= limit && sky_utf8_valid(text);
}

static bool buildable(const struct sky_sw8 *sw8)
{
    return sw8->span_id >= 0 && is_text(sw8->trace_id, SKY_SW8_MAX_ID_BYTES) &&
           is_text(sw8->segment_id, SKY_SW8_MAX_ID_BYTES) &&
           is_text(sw8->service, SKY_SW8_MAX_BYTES) && is_text(sw8->instance, SKY_SW8_MAX_BYTES) &&
           is_text(sw8->endpoint, SKY_SW8_MAX_BYTES) && is_text(sw8->address, SKY_SW8_MAX_BYTES);
}

/* Writes the decimal digits so that they end before `end`; returns their start. */
static char *digits_before(char *end, int32_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return end;
}

static char *put_field(char *out, struct sky_text text)
{
    *out++ = '-';
    return out + sky_base64_encode(out, text);
}

size_t sky_sw8_build(const struct sky_sw8 *sw8, char *dst, size_t size)
{
    char digits[10], *first_digit, *out = dst;
    size_t digit_count, len;

    if (!buildable(sw8))
        return 0;
    first_digit = digits_before(digits + sizeof(digits), sw8->span_id);
    digit_count = (size_t)(digits + sizeof(digits) - first_digit);
    len = 1 + (FIELD_COUNT - 1) + digit_count + SKY_BASE64_LEN(sw8->trace_id.len) +
          SKY_BASE64_LEN(sw8->segment_id.len) + SKY_BASE64_LEN(sw8->service.len) +
          SKY_BASE64_LEN(sw8->instance.len) + SKY_BASE64_LEN(sw8->endpoint.len) +
          SKY_BASE64_LEN(sw8->address.len);
    if (len > size || len > SKY_SW8_MAX_BYTES)
        return 0;

    *out++ = sw8->sampled ? '1' : '0';
    out = put_field(out, sw8->trace_id);
    out = put_field(out, sw8->segment_id);
    *out++ = '-';
    memcpy(out, first_digit, digit_count);
    out += digit_count;
    out = put_field(out, sw8->service);
    out = put_field(out, sw8->instance);
    out = put_field(out, sw8->endpoint);
    out = put_field(out, sw8->address);
    return (size_t)(out - dst);
}

bool sky_sw8x_skips_analysis(struct sky_text value)
{
    value = without_blanks(value);
    return value.len != 0 && value.base[0] == '1' && (value.len == 1 || value.base[1] == '-');
}

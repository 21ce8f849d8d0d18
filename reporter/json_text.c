/* SPDX-License-Identifier: Apache-2.0 */
/* Appends with doubling room. */
#include "reporter/json_text.h"

#include <stdio.h>
#include <stdlib.h>

static char *reserve(struct sky_json_text *json, size_t bytes)
{
    size_t needed = json->length + bytes + 1;

    if (json->failed)
        return NULL;
    if (needed > json->room) {
        size_t room = json->room * 2 > needed ? json->room * 2 : needed + 256;
        char *base = realloc(json->base, room);
        if (base == NULL) {
            json->failed = true;
            return NULL;
        }
        json->base = base;
        json->room = room;
    }
    return json->base + json->length;
}

static void advance(struct sky_json_text *json, size_t bytes)
{
    json->length += bytes;
    json->base[json->length] = '\0';
}

void sky_json_raw(struct sky_json_text *json, struct sky_text bytes)
{
    char *dst = reserve(json, bytes.len);

    if (dst == NULL || bytes.len == 0)
        return;
    memcpy(dst, bytes.base, bytes.len);
    advance(json, bytes.len);
}

/* Writes one character, or its escape of at most 6 bytes (RFC 8259, 7). */
static size_t put_escape(char *dst, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                  ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};

    dst[0] = '\\';
    if (c < sizeof(shorts) && shorts[c] != 0) {
        dst[1] = shorts[c];
        return 2;
    }
    memcpy(dst + 1, "u00", 3);
    dst[4] = hex[c >> 4];
    dst[5] = hex[c & 15];
    return 6;
}

void sky_json_string(struct sky_json_text *json, struct sky_text text)
{
    char *dst = reserve(json, 6 * text.len + 2);
    size_t length = 0;

    if (dst == NULL)
        return;
    dst[length++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.base[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            dst[length++] = (char)c;
        else
            length += put_escape(dst + length, c);
    }
    dst[length++] = '"';
    advance(json, length);
}

void sky_json_number(struct sky_json_text *json, int64_t number)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%lld", (long long)number);

    sky_json_raw(json, sky_text(digits, (size_t)length));
}

void sky_json_bool(struct sky_json_text *json, bool value)
{
    sky_json_raw(json, value ? SKY_TEXT("true") : SKY_TEXT("false"));
}

void sky_json_comma(struct sky_json_text *json)
{
    if (json->failed || json->length == 0)
        return;
    char last = json->base[json->length - 1];
    if (last != '{' && last != '[')
        sky_json_raw(json, SKY_TEXT(","));
}

void sky_json_key(struct sky_json_text *json, const char *key)
{
    sky_json_comma(json);
    sky_json_string(json, sky_text_of(key));
    sky_json_raw(json, SKY_TEXT(":"));
}

char *sky_json_take(struct sky_json_text *json)
{
    char *base = json->base;

    if (json->failed) {
        free(base);
        base = NULL;
    }
    *json = (struct sky_json_text){0};
    return base;
}

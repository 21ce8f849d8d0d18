/* SPDX-License-Identifier: Apache-2.0 */
/* Names of low cardinality: OAP keeps metrics for each, and gives up beyond some thousands. */
#include "proxy/trace/operation.h"

#include "propagation/utf8.h"
#include "proxy/http/percent.h"

#define FOLDED_SEGMENT SKY_TEXT("{id}")
#define HEX_MIN_DIGITS 8
#define TOKEN_MIN_BYTES 20

/* The name before it is mended and cut. The surplus tells a name that must be cut from one that
 * just fits, and is one character long so that the cut sees where it begins. */
struct draft {
    char bytes[SKY_OPERATION_MAX_BYTES + 4];
    size_t len;
};

static bool is_full(const struct draft *draft)
{
    return draft->len == sizeof(draft->bytes);
}

static void append(struct draft *draft, struct sky_text text)
{
    size_t room = sizeof(draft->bytes) - draft->len;
    size_t len = text.len < room ? text.len : room;

    if (len != 0)
        memcpy(draft->bytes + draft->len, text.base, len);
    draft->len += len;
}

static bool is_control(uint8_t byte)
{
    return byte < 0x20 || byte == 0x7f;
}

static size_t plain_run(struct sky_text text)
{
    size_t len = 0;

    while (len < text.len && text.base[len] != '%' && !is_control((uint8_t)text.base[len]))
        ++len;
    return len;
}

static void append_escape(struct draft *draft, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";
    char escape[3] = {'%', digits[byte >> 4], digits[byte & 0x0f]};

    append(draft, sky_text(escape, sizeof(escape)));
}

/* Bytes that would change what the name says, or break the lines it is shown in, are escaped. */
static void append_decoded(struct draft *draft, struct sky_text text)
{
    while (text.len != 0 && !is_full(draft)) {
        size_t plain = plain_run(text);
        append(draft, sky_text(text.base, plain));
        text = sky_text(text.base + plain, text.len - plain);
        if (text.len == 0)
            return;
        const char *start = text.base;
        char byte = (char)sky_percent_take(&text);
        bool lone_percent = byte == '%' && text.base == start + 1;
        if (is_control((uint8_t)byte) || byte == '/' || (byte == '%' && !lone_percent))
            append_escape(draft, (uint8_t)byte);
        else
            append(draft, sky_text(&byte, 1));
    }
}

static bool is_id(struct sky_text segment)
{
    size_t bytes = 0, digits = 0, letters = 0, hex_letters = 0, dashes = 0;

    while (segment.len != 0) {
        uint8_t c = sky_percent_take(&segment);
        uint8_t lower = c | 0x20;
        ++bytes;
        digits += c >= '0' && c <= '9';
        letters += lower >= 'a' && lower <= 'z';
        hex_letters += lower >= 'a' && lower <= 'f';
        dashes += c == '-';
    }
    if (digits == 0)
        return false;
    if (digits == bytes)
        return true;
    if (digits + hex_letters + dashes == bytes && digits + hex_letters >= HEX_MIN_DIGITS)
        return true;
    return bytes >= TOKEN_MIN_BYTES && letters != 0;
}

static void append_folded(struct draft *draft, struct sky_text path)
{
    const char *start = path.base, *end = path.base + path.len;

    while (start != end && !is_full(draft)) {
        const char *slash = memchr(start, '/', (size_t)(end - start));
        struct sky_text segment = sky_text(start, (size_t)((slash != NULL ? slash : end) - start));
        if (is_id(segment))
            append(draft, FOLDED_SEGMENT);
        else
            append_decoded(draft, segment);
        if (slash != NULL)
            append(draft, SKY_TEXT("/"));
        start = slash != NULL ? slash + 1 : end;
    }
}

/* Anybody can send any method, so only the known ones may become part of a name. */
static struct sky_text method_name(struct sky_text method)
{
    static const struct sky_text known[] = {
        SKY_TEXT_INIT("GET"),     SKY_TEXT_INIT("POST"),  SKY_TEXT_INIT("HEAD"),
        SKY_TEXT_INIT("PUT"),     SKY_TEXT_INIT("PATCH"), SKY_TEXT_INIT("DELETE"),
        SKY_TEXT_INIT("OPTIONS"), SKY_TEXT_INIT("TRACE"), SKY_TEXT_INIT("CONNECT"),
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
        if (sky_text_equal(method, known[i]))
            return known[i];
    }
    return SKY_TEXT("OTHER");
}

size_t sky_operation_name(enum sky_operation form, struct sky_text method, struct sky_text target,
                          char dst[SKY_OPERATION_MAX_BYTES])
{
    struct draft draft = {.len = 0};
    char mended[3 * sizeof(draft.bytes)];
    struct sky_text name, path = sky_percent_path(target);

    if (path.len == 0)
        path = SKY_TEXT("/");
    if (form == SKY_OPERATION_PATH) {
        append_decoded(&draft, path);
    } else {
        append(&draft, method_name(method));
        append(&draft, SKY_TEXT(":"));
        append_folded(&draft, path);
    }
    name = sky_text(draft.bytes, draft.len);
    if (!sky_utf8_valid(name))
        name = sky_text(mended, sky_utf8_clean(mended, name));
    name = sky_utf8_cut(name, SKY_OPERATION_MAX_BYTES);
    memcpy(dst, name.base, name.len);
    return name.len;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/http_params.h"

#include <strings.h>

#include "proxy/http/percent.h"

#define MASK SKY_TEXT("***")
#define CUT SKY_TEXT("...")

struct pair {
    struct sky_text name, value;
    bool written;
};

struct pairs {
    struct pair items[SKY_HTTP_PARAMS_MAX];
    size_t count;
};

/* Text that ends where it is full; room for the cut's mark is kept. */
struct writer {
    char *base;
    size_t len, size;
    bool cut;
};

static void put(struct writer *writer, struct sky_text text)
{
    if (writer->cut)
        return;
    size_t room = writer->size - writer->len;
    size_t len = text.len < room ? text.len : room;
    if (len != 0)
        memcpy(writer->base + writer->len, text.base, len);
    writer->len += len;
    writer->cut = len < text.len;
}

static struct sky_text decode(h2o_mem_pool_t *pool, struct sky_text text)
{
    if (text.len == 0)
        return text;
    char *base = h2o_mem_alloc_pool(pool, text.len), *at = base;
    while (text.len != 0) {
        bool plus = *text.base == '+';
        uint8_t byte = sky_percent_take(&text);
        *at++ = plus ? ' ' : (char)byte;
    }
    return sky_text(base, (size_t)(at - base));
}

static struct sky_text take_until(struct sky_text *rest, char end)
{
    const char *at = rest->len != 0 ? memchr(rest->base, end, rest->len) : NULL;
    size_t len = at != NULL ? (size_t)(at - rest->base) : rest->len;
    struct sky_text taken = sky_text(rest->base, len);
    size_t skipped = at != NULL ? len + 1 : len;
    *rest = sky_text(rest->base + skipped, rest->len - skipped);
    return taken;
}

static void add_pairs(h2o_mem_pool_t *pool, struct sky_text text, struct pairs *pairs)
{
    while (text.len != 0 && pairs->count < SKY_HTTP_PARAMS_MAX) {
        struct sky_text pair = take_until(&text, '&');
        if (pair.len == 0)
            continue;
        struct sky_text name = take_until(&pair, '=');
        pairs->items[pairs->count++] =
            (struct pair){.name = decode(pool, name), .value = decode(pool, pair)};
    }
}

/* Whether name holds word, letters in any case and `-` as `_`. */
static bool holds(struct sky_text name, const char *word)
{
    size_t len = strlen(word);
    for (size_t start = 0; len != 0 && start + len <= name.len; start++) {
        size_t i = 0;
        while (i < len) {
            char a = name.base[start + i], b = word[i];
            a = a == '-' ? '_' : a;
            b = b == '-' ? '_' : b;
            if (strncasecmp(&a, &b, 1) != 0)
                break;
            i++;
        }
        if (i == len)
            return true;
    }
    return false;
}

static bool is_masked(struct sky_text name, const struct sky_strings *masked)
{
    for (size_t i = 0; i < masked->count; i++) {
        if (holds(name, masked->items[i]))
            return true;
    }
    return false;
}

static void put_line(struct writer *writer, struct pairs *pairs, size_t first, bool masked)
{
    struct sky_text name = pairs->items[first].name;
    put(writer, sky_text("\n", writer->len != 0));
    put(writer, name);
    put(writer, SKY_TEXT("=["));
    for (size_t i = first; i < pairs->count && !writer->cut; i++) {
        struct pair *pair = &pairs->items[i];
        if (!sky_text_equal(pair->name, name))
            continue;
        put(writer, sky_text(",", i != first));
        put(writer, masked ? MASK : pair->value);
        pair->written = true;
    }
    put(writer, SKY_TEXT("]"));
}

static struct sky_text write_pairs(h2o_mem_pool_t *pool, struct pairs *pairs,
                                   const struct sky_strings *masked, size_t max_bytes)
{
    if (pairs->count == 0 || max_bytes == 0)
        return sky_text(NULL, 0);
    struct writer writer = {.base = h2o_mem_alloc_pool(pool, max_bytes + CUT.len),
                            .size = max_bytes};
    for (size_t i = 0; i < pairs->count && !writer.cut; i++) {
        if (!pairs->items[i].written)
            put_line(&writer, pairs, i, is_masked(pairs->items[i].name, masked));
    }
    if (writer.cut) {
        memcpy(writer.base + writer.len, CUT.base, CUT.len);
        writer.len += CUT.len;
    }
    return sky_text(writer.base, writer.len);
}

struct sky_text sky_http_params(h2o_mem_pool_t *pool, struct sky_text query, struct sky_text form,
                                const struct sky_strings *masked, size_t max_bytes)
{
    struct pairs pairs;
    pairs.count = 0;
    add_pairs(pool, query, &pairs);
    if (form.len <= SKY_HTTP_PARAMS_MAX_FORM_BYTES)
        add_pairs(pool, form, &pairs);
    return write_pairs(pool, &pairs, masked, max_bytes);
}

static bool is_listed(struct sky_text name, const struct sky_strings *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strlen(names->items[i]) == name.len &&
            strncasecmp(names->items[i], name.base, name.len) == 0)
            return true;
    }
    return false;
}

struct sky_text sky_http_headers(h2o_mem_pool_t *pool, const h2o_headers_t *headers,
                                 const struct sky_strings *names, const struct sky_strings *masked,
                                 size_t max_bytes)
{
    struct pairs pairs;
    pairs.count = 0;
    for (size_t i = 0; i < headers->size && pairs.count < SKY_HTTP_PARAMS_MAX; i++) {
        const h2o_header_t *header = &headers->entries[i];
        struct sky_text name = sky_text(header->name->base, header->name->len);
        if (is_listed(name, names))
            pairs.items[pairs.count++] = (struct pair){
                .name = name, .value = sky_text(header->value.base, header->value.len)};
    }
    return write_pairs(pool, &pairs, masked, max_bytes);
}

bool sky_http_is_form(struct sky_text content_type)
{
    static const char form[] = "application/x-www-form-urlencoded";
    size_t len = sizeof(form) - 1;
    if (content_type.len < len || strncasecmp(content_type.base, form, len) != 0)
        return false;
    return content_type.len == len || content_type.base[len] == ';' ||
           content_type.base[len] == ' ';
}

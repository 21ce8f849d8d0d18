/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/forwarded.h"

#include <string.h>

#include "proxy/client_address.h"
#include "proxy/http/field_text.h"
#include "proxy/http/http1_chars.h"
#include "proxy/peer_text.h"

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

static char *put(char *at, struct sky_text text)
{
    if (text.len != 0)
        memcpy(at, text.base, text.len);
    return at + text.len;
}

/* RFC 7239, 4 and 6: an IPv6 address stands in brackets and quotes. */
static char *put_for(char *at, struct sky_text ip)
{
    bool ipv6 = ip.len != 0 && memchr(ip.base, ':', ip.len) != NULL;

    at = put(at, ipv6 ? SKY_TEXT("for=\"[") : SKY_TEXT("for="));
    at = put(at, ip.len != 0 ? ip : SKY_TEXT("unknown"));
    return put(at, ipv6 ? SKY_TEXT("]\"") : sky_text(NULL, 0));
}

static char *put_host(char *at, struct sky_text host)
{
    at = put(at, SKY_TEXT(";host=\""));
    at = put(at, host);
    return put(at, SKY_TEXT("\""));
}

static char *put_proto(char *at, struct sky_text proto)
{
    return put(put(at, SKY_TEXT(";proto=")), proto);
}

/* Not a list, and nothing that ends the quotes. */
static bool is_host(struct sky_text value)
{
    for (size_t i = 0; i < value.len; ++i)
        if (value.base[i] == ',' || (!sky_http1_is(value.base[i], SKY_HTTP1_HOST) &&
                                     memchr(":[]", value.base[i], 3) == NULL))
            return false;
    return value.len != 0;
}

static bool is_token(struct sky_text value)
{
    for (size_t i = 0; i < value.len; ++i)
        if (!sky_http1_is(value.base[i], SKY_HTTP1_TOKEN))
            return false;
    return value.len != 0;
}

/* What the peer has said of host and scheme is about the request of the first in its list. */
static char *put_outer(const struct sky_forwarded *forwarded, char *at)
{
    if (is_host(forwarded->outer_host))
        at = put_host(at, forwarded->outer_host);
    return is_token(forwarded->outer_proto) ? put_proto(at, forwarded->outer_proto) : at;
}

/* Cuts the next node off a list of X-Forwarded-For. */
static struct sky_text cut_node(struct sky_text *list)
{
    const char *comma = memchr(list->base, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->base) : list->len;
    struct sky_text node = sky_field_trim(sky_text(list->base, len));

    len += comma != NULL;
    *list = sky_text(list->base + len, list->len - len);
    return node;
}

/* RFC 7239, 7.4 */
static char *convert(const struct sky_forwarded *forwarded, struct sky_text list, bool *first,
                     char *at)
{
    while (list.len != 0) {
        struct sky_text node = cut_node(&list);
        struct sockaddr_storage address;
        char ip[SKY_PEER_TEXT_BYTES];
        if (node.len == 0)
            continue;
        bool known = sky_client_node(node, &address);
        at = put_for(at, known ? sky_peer_ip(&address, ip) : sky_text(NULL, 0));
        if (*first)
            at = put_outer(forwarded, at);
        *first = false;
        at = put(at, SKY_TEXT(", "));
    }
    return at;
}

size_t sky_forwarded_bound(const h2o_headers_t *headers)
{
    size_t bytes = 0;

    for (size_t i = 0; i < headers->size; ++i) {
        const h2o_header_t *field = &headers->entries[i];
        if (field->name == &H2O_TOKEN_X_FORWARDED_FOR->buf)
            bytes += 12 * (field->value.len + 1); /* `x,` is `for=unknown, ` */
        else if (sky_text_starts(view(*field->name), SKY_TEXT("x-forwarded-")))
            bytes += field->value.len; /* those of -Host and -Proto stand in it, too */
    }
    return bytes;
}

char *sky_forwarded_write(const struct sky_forwarded *forwarded, char *at)
{
    const h2o_headers_t *headers = forwarded->headers;
    bool first = true;

    for (size_t i = 0; i < headers->size && (forwarded->passes || forwarded->converts); ++i) {
        const h2o_header_t *field = &headers->entries[i];
        if (forwarded->converts && field->name == &H2O_TOKEN_X_FORWARDED_FOR->buf)
            at = convert(forwarded, view(field->value), &first, at);
        else if (forwarded->passes && sky_text_equal(view(*field->name), SKY_TEXT("forwarded")))
            at = put(put(at, view(field->value)), SKY_TEXT(", "));
    }
    at = put_host(put_for(at, forwarded->client), forwarded->host);
    return put_proto(at, forwarded->proto);
}

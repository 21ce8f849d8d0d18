/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "proxy/http/field_text.h"

/* Elements of a Forwarded list that are looked at: the last ones. */
#define ELEMENTS_MAX 32

static bool is_port(struct sky_text text)
{
    unsigned port = 0;

    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; ++i) {
        if (text.base[i] < '0' || text.base[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.base[i] - '0');
    }
    return port <= UINT16_MAX;
}

static bool read_ip(struct sky_text text, int family, struct sockaddr_storage *address)
{
    char ip[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(ip) || memchr(text.base, '\0', text.len) != NULL)
        return false;
    memcpy(ip, text.base, text.len);
    ip[text.len] = '\0';
    *address = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
    return inet_pton(family, ip,
                     family == AF_INET ? (void *)&((struct sockaddr_in *)address)->sin_addr
                                       : (void *)&((struct sockaddr_in6 *)address)->sin6_addr) == 1;
}

bool sky_client_node(struct sky_text text, struct sockaddr_storage *address)
{
    const char *colon, *bracket;

    if (text.len == 0)
        return false;
    if (text.base[0] == '[') {
        bracket = memchr(text.base, ']', text.len);
        if (bracket == NULL)
            return false;
        size_t len = (size_t)(bracket - text.base), rest = text.len - len - 1;
        if (rest != 0 && (bracket[1] != ':' || !is_port(sky_text(bracket + 2, rest - 1))))
            return false;
        return read_ip(sky_text(text.base + 1, len - 1), AF_INET6, address);
    }
    colon = memchr(text.base, ':', text.len);
    if (colon == NULL)
        return read_ip(text, AF_INET, address);
    size_t len = (size_t)(colon - text.base);
    if (memchr(text.base, '.', len) != NULL) /* a port behind an IPv4 address */
        return is_port(sky_text(colon + 1, text.len - len - 1)) &&
               read_ip(sky_text(text.base, len), AF_INET, address);
    return read_ip(text, AF_INET6, address);
}

/* One step back; false when it is not to be taken, or leads to nobody known. */
static bool step(struct sky_text node, const struct sky_trust *trust,
                 struct sockaddr_storage *client)
{
    struct sockaddr_storage before;

    if (!sky_trust_peer(trust, (struct sockaddr *)client) || !sky_client_node(node, &before))
        return false;
    *client = before;
    return true;
}

bool sky_client_walk(struct sky_text list, const struct sky_trust *trust,
                     struct sockaddr_storage *client)
{
    for (;;) {
        size_t begin = list.len;
        while (begin != 0 && list.base[begin - 1] != ',')
            --begin;
        struct sky_text node = sky_field_trim(sky_text(list.base + begin, list.len - begin));
        /* RFC 9110, 5.6.1.2: empty elements count for nothing */
        if (node.len != 0 && !step(node, trust, client))
            return false;
        if (begin == 0)
            return true;
        list.len = begin - 1;
    }
}

/* ---- Forwarded ---- */

/* Cuts what is before the next `mark`, not counting quoted ones; the mark goes, too. */
static struct sky_text cut(struct sky_text *rest, char mark)
{
    bool quoted = false;
    size_t len = 0;

    for (; len < rest->len && (quoted || rest->base[len] != mark); ++len) {
        if (rest->base[len] == '"')
            quoted = !quoted;
        else if (quoted && rest->base[len] == '\\' && len + 1 < rest->len)
            ++len;
    }
    struct sky_text part = sky_text(rest->base, len);
    len += len < rest->len;
    *rest = sky_text(rest->base + len, rest->len - len);
    return part;
}

/* The value of for=, without its quotes; empty when there is none. */
static struct sky_text for_of(struct sky_text element)
{
    while (element.len != 0) {
        struct sky_text pair = sky_field_trim(cut(&element, ';'));
        if (pair.len < 4 || !sky_text_equal_nocase(sky_text(pair.base, 4), SKY_TEXT("for=")))
            continue;
        struct sky_text value = sky_text(pair.base + 4, pair.len - 4);
        if (value.len >= 2 && value.base[0] == '"' && value.base[value.len - 1] == '"')
            value = sky_text(value.base + 1, value.len - 2);
        return value;
    }
    return sky_text(NULL, 0);
}

bool sky_client_walk_forwarded(struct sky_text list, const struct sky_trust *trust,
                               struct sockaddr_storage *client)
{
    struct sky_text elements[ELEMENTS_MAX];
    size_t count = 0;

    while (list.len != 0) {
        struct sky_text element = sky_field_trim(cut(&list, ','));
        if (element.len != 0)
            elements[count++ % ELEMENTS_MAX] = element;
    }
    for (size_t i = 0; i < count; ++i) {
        if (i == ELEMENTS_MAX ||
            !step(for_of(elements[(count - 1 - i) % ELEMENTS_MAX]), trust, client))
            return false;
    }
    return true;
}

/* ---- requests ---- */

/* The fields of one name, from the last to the first. True when there is one. */
static bool walk_fields(const h2o_headers_t *headers, const h2o_iovec_t *token, const char *name,
                        const struct sky_trust *trust, struct sockaddr_storage *client)
{
    bool found = false, more = true;

    for (size_t i = headers->size; i-- != 0 && more;) {
        const h2o_header_t *field = &headers->entries[i];
        struct sky_text value = sky_text(field->value.base, field->value.len);
        if (token != NULL ? field->name != token
                          : !h2o_memis(field->name->base, field->name->len, name, strlen(name)))
            continue;
        found = true;
        more = token != NULL ? sky_client_walk(value, trust, client)
                             : sky_client_walk_forwarded(value, trust, client);
    }
    return found;
}

void sky_client_address(const h2o_req_t *req, const struct sky_trust *trust,
                        struct sockaddr_storage *client)
{
    *client = (struct sockaddr_storage){0};
    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)client);
    if (!sky_trust_peer(trust, (struct sockaddr *)client))
        return;
    if (!walk_fields(&req->headers, &H2O_TOKEN_X_FORWARDED_FOR->buf, NULL, trust, client))
        walk_fields(&req->headers, NULL, "forwarded", trust, client);
}

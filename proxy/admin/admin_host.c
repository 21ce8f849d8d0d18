/* SPDX-License-Identifier: Apache-2.0 */
/* Test of the Host field against DNS rebinding. */
#include "proxy/admin/admin_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool is_ip(struct sky_text name, int family)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (name.len == 0 || name.len >= sizeof(text))
        return false;
    memcpy(text, name.base, name.len);
    text[name.len] = '\0';
    return inet_pton(family, text, &address) == 1;
}

static bool ends_with(struct sky_text name, struct sky_text suffix)
{
    return name.len > suffix.len &&
           sky_text_equal_nocase(sky_text(name.base + name.len - suffix.len, suffix.len), suffix);
}

/* RFC 3986, 3.2.2: an IPv6 address stands in brackets. */
static bool is_bracketed_ip(struct sky_text host)
{
    const char *end = memchr(host.base, ']', host.len);
    if (end == NULL || (end + 1 < host.base + host.len && end[1] != ':'))
        return false;
    return is_ip(sky_text(host.base + 1, (size_t)(end - host.base - 1)), AF_INET6);
}

bool sky_admin_host_allowed(struct sky_text host, const struct sky_address *listen)
{
    if (listen->host == NULL || host.len == 0)
        return true;
    if (host.base[0] == '[')
        return is_bracketed_ip(host);
    const char *colon = memchr(host.base, ':', host.len);
    struct sky_text name = host;
    if (colon != NULL)
        name.len = (size_t)(colon - host.base);
    return is_ip(name, AF_INET) || sky_text_equal_nocase(name, SKY_TEXT("localhost")) ||
           ends_with(name, SKY_TEXT(".localhost")) ||
           (listen->host[0] != '\0' && sky_text_equal_nocase(name, sky_text_of(listen->host)));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of ADDR. */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "proxy/config/config_chars.h"

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char digits[] = "0123456789";

static const char *parse_unix(const char *path, struct sky_address *address)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&address->sockaddr;
    size_t len = strlen(path);
    if (path[0] != '/')
        return "has no / after unix:";
    if (len >= sizeof(un->sun_path))
        return "has a path longer than 107 bytes";
    if (sky_config_check_chars(path) != NULL)
        return "has a path that is no UTF-8 or holds a control character";
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    address->sockaddr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return NULL;
}

static const char *parse_port(const char *text, uint16_t *port)
{
    size_t len = strlen(text);
    if (len == 0)
        return "has no port";
    if (strchr(text, '/') != NULL)
        return "has a path, which an address has not";
    if (strspn(text, digits) != len || len > 5)
        return "has a port that is no number from 1 to 65535";
    unsigned long value = strtoul(text, NULL, 10);
    if (value == 0 || value > UINT16_MAX)
        return "has a port that is no number from 1 to 65535";
    *port = (uint16_t)value;
    return NULL;
}

static void set_ipv6(struct sky_address *address, struct in6_addr host)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->sockaddr;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address->port);
    in6->sin6_addr = host;
    address->sockaddr_len = sizeof(*in6);
}

static const char *set_bracketed(struct sky_address *address)
{
    struct in6_addr host;
    if (inet_pton(AF_INET6, address->host, &host) != 1)
        return "has no IPv6 address in its brackets";
    set_ipv6(address, host);
    return NULL;
}

/* A host without brackets: nothing, an IPv4 address, or a name. */
static const char *set_plain(struct sky_address *address)
{
    const char *host = address->host;
    size_t len = strlen(host);
    if (len == 0) {
        set_ipv6(address, in6addr_any);
        return NULL;
    }
    struct in_addr ipv4;
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        struct sockaddr_in *in = (struct sockaddr_in *)&address->sockaddr;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        in->sin_addr = ipv4;
        address->sockaddr_len = sizeof(*in);
        return NULL;
    }
    if (strspn(host, "0123456789.") == len)
        return "has a host that is no IPv4 address";
    for (const char *at = host; *at != '\0'; at++) {
        if (strchr(letters, *at) == NULL && strchr(digits, *at) == NULL &&
            strchr("-._", *at) == NULL)
            return "has a character in its host that no name has";
    }
    return len <= 253 ? NULL : "has a host longer than 253 bytes";
}

static const char *parse_host_port(const char *text, struct sky_address *address)
{
    bool bracketed = text[0] == '[';
    const char *host = bracketed ? text + 1 : text;
    const char *end = bracketed ? strchr(host, ']') : strchr(host, ':');
    if (end == NULL)
        return bracketed ? "has no closing bracket" : "has no port";
    const char *colon = bracketed ? end + 1 : end;
    if (*colon != ':')
        return "has no port";
    if (strncmp(colon, "://", 3) == 0)
        return "has a scheme, which an address has not";
    if (!bracketed && strchr(colon + 1, ':') != NULL)
        return "has an IPv6 address without brackets";

    const char *problem = parse_port(colon + 1, &address->port);
    if (problem != NULL)
        return problem;
    address->host = strndup(host, (size_t)(end - host));
    if (address->host == NULL)
        return "memory is out";
    return bracketed ? set_bracketed(address) : set_plain(address);
}

const char *sky_address_parse(const char *text, struct sky_address *address)
{
    *address = (struct sky_address){0};
    const char *problem = strncmp(text, "unix:", 5) == 0 ? parse_unix(text + 5, address)
                                                         : parse_host_port(text, address);
    if (problem == NULL && (address->text = strdup(text)) == NULL)
        problem = "memory is out";
    if (problem != NULL)
        sky_address_fini(address);
    return problem;
}

bool sky_address_is_localhost(const struct sky_address *address)
{
    const char *host = address->host;
    return host != NULL && (host[0] == '\0' || strcasecmp(host, "localhost") == 0);
}

bool sky_address_is_name(const struct sky_address *address)
{
    return address->sockaddr_len == 0 && !sky_address_is_localhost(address);
}

/* :: takes IPv4, too. */
static bool is_any(const struct sky_address *address, bool of_ipv4)
{
    if (address->sockaddr.ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(
            &((const struct sockaddr_in6 *)(const void *)&address->sockaddr)->sin6_addr);
    return of_ipv4 && address->sockaddr.ss_family == AF_INET &&
           ((const struct sockaddr_in *)(const void *)&address->sockaddr)->sin_addr.s_addr ==
               INADDR_ANY;
}

bool sky_address_overlaps(const struct sky_address *a, const struct sky_address *b)
{
    if (a->port == 0 || a->port != b->port || strcmp(a->text, b->text) == 0)
        return false;
    return is_any(a, b->sockaddr.ss_family != AF_INET6 || is_any(b, false)) ||
           is_any(b, a->sockaddr.ss_family != AF_INET6 || is_any(a, false));
}

void sky_address_fini(struct sky_address *address)
{
    free(address->text);
    free(address->host);
    *address = (struct sky_address){0};
}

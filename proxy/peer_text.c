/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/peer_text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>

static char *put_decimal(char *at, unsigned value)
{
    char digits[10];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count != 0)
        *at++ = digits[--count];
    return at;
}

static char *put_ipv4(char *at, const uint8_t bytes[4])
{
    for (int i = 0; i < 4; ++i) {
        if (i != 0)
            *at++ = '.';
        at = put_decimal(at, bytes[i]);
    }
    return at;
}

/* The IPv4 address of a peer, which may have come mapped into IPv6; NULL when it has none. */
static const uint8_t *ipv4_of(const struct sockaddr_storage *peer)
{
    if (peer->ss_family == AF_INET)
        return (const uint8_t *)&((const struct sockaddr_in *)peer)->sin_addr;
    if (peer->ss_family == AF_INET6) {
        const struct in6_addr *address = &((const struct sockaddr_in6 *)peer)->sin6_addr;
        return IN6_IS_ADDR_V4MAPPED(address) ? address->s6_addr + 12 : NULL;
    }
    return NULL;
}

static char *put_ip(const struct sockaddr_storage *peer, char *at)
{
    const uint8_t *ipv4 = ipv4_of(peer);

    if (ipv4 != NULL)
        return put_ipv4(at, ipv4);
    if (peer->ss_family != AF_INET6)
        return at;
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, at, INET6_ADDRSTRLEN);
    return at + strlen(at);
}

struct sky_text sky_peer_ip(const struct sockaddr_storage *peer, char dst[SKY_PEER_TEXT_BYTES])
{
    return sky_text(dst, (size_t)(put_ip(peer, dst) - dst));
}

struct sky_text sky_peer_ip_port(const struct sockaddr_storage *peer, char dst[SKY_PEER_TEXT_BYTES])
{
    bool brackets = peer->ss_family == AF_INET6 && ipv4_of(peer) == NULL;
    char *at = dst;

    if (peer->ss_family != AF_INET && peer->ss_family != AF_INET6)
        return sky_text(dst, 0);
    if (brackets)
        *at++ = '[';
    at = put_ip(peer, at);
    if (brackets)
        *at++ = ']';
    *at++ = ':';
    /* The port is at the same place in both kinds of address. */
    at = put_decimal(at, ntohs(((const struct sockaddr_in *)peer)->sin_port));
    return sky_text(dst, (size_t)(at - dst));
}

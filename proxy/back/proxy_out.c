/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/proxy_out.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* An IP address; one of IPv4 mapped, as it comes to a socket of both families. */
struct node {
    struct in6_addr address;
    uint16_t port; /* network order */
};

static bool read_node(const struct sockaddr *from, struct node *node)
{
    if (from != NULL && from->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof(in6));
        *node = (struct node){in6.sin6_addr, in6.sin6_port};
        return true;
    }
    if (from == NULL || from->sa_family != AF_INET)
        return false;
    struct sockaddr_in in;
    memcpy(&in, from, sizeof(in));
    *node = (struct node){.port = in.sin_port};
    node->address.s6_addr[10] = node->address.s6_addr[11] = 0xff;
    memcpy(&node->address.s6_addr[12], &in.sin_addr, 4);
    return true;
}

static size_t write_v1(const struct node nodes[2], bool ipv4, char *dst)
{
    char texts[2][INET6_ADDRSTRLEN];

    for (int i = 0; i < 2; ++i)
        inet_ntop(ipv4 ? AF_INET : AF_INET6, &nodes[i].address.s6_addr[ipv4 ? 12 : 0], texts[i],
                  sizeof(texts[i]));
    return (size_t)snprintf(dst, SKY_PROXY_OUT_BYTES, "PROXY TCP%d %s %s %u %u\r\n", ipv4 ? 4 : 6,
                            texts[0], texts[1], ntohs(nodes[0].port), ntohs(nodes[1].port));
}

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Version and command, family, length of the rest; nodes are NULL for LOCAL. */
static size_t write_v2(const struct node *nodes, bool ipv4, char *dst)
{
    size_t address = ipv4 ? 4 : 16, rest = nodes != NULL ? 2 * address + 4 : 0;
    char *at = dst + sizeof(signature);

    memcpy(dst, signature, sizeof(signature));
    *at++ = nodes != NULL ? 0x21 : 0x20;
    *at++ = (char)(nodes == NULL ? 0x00 : ipv4 ? 0x11 : 0x21);
    *at++ = 0;
    *at++ = (char)rest;
    if (nodes == NULL)
        return (size_t)(at - dst);
    for (int i = 0; i < 2; ++i, at += address)
        memcpy(at, &nodes[i].address.s6_addr[16 - address], address);
    for (int i = 0; i < 2; ++i, at += 2)
        memcpy(at, &nodes[i].port, 2);
    return (size_t)(at - dst);
}

size_t sky_proxy_out_write(enum sky_proxy_protocol version, const struct sockaddr *client,
                           const struct sockaddr *local, char dst[SKY_PROXY_OUT_BYTES])
{
    struct node nodes[2];
    bool known = read_node(client, &nodes[0]) && read_node(local, &nodes[1]);
    bool ipv4 =
        known && IN6_IS_ADDR_V4MAPPED(&nodes[0].address) && IN6_IS_ADDR_V4MAPPED(&nodes[1].address);

    switch (version) {
    case SKY_PROXY_PROTOCOL_V1:
        if (known)
            return write_v1(nodes, ipv4, dst);
        return (size_t)snprintf(dst, SKY_PROXY_OUT_BYTES, "PROXY UNKNOWN\r\n");
    case SKY_PROXY_PROTOCOL_V2:
        return write_v2(known ? nodes : NULL, ipv4, dst);
    case SKY_PROXY_PROTOCOL_OFF:
        break;
    }
    return 0;
}

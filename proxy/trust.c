/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of trust and the test of a peer against it. */
#include "proxy/trust.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static const char *const private_networks[] = {
    "127.0.0.0/8",    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "169.254.0.0/16", "::1/128",    "fe80::/10",     "fc00::/7",
};

static const char *const bad_prefix =
    "has a prefix length that is no number up to 32 (IPv4) or 128";

/* Reads the digits after the slash; -1 when they are none, or more than limit. */
static int parse_bits(const char *text, int limit)
{
    size_t len = strlen(text);
    if (len == 0 || len > 3 || strspn(text, "0123456789") != len)
        return -1;
    int bits = atoi(text);
    return bits <= limit ? bits : -1;
}

static const char *parse_cidr(const char *text, struct sky_cidr *cidr)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len == 0 || len >= sizeof(host))
        return "has an entry that is no IP address or CIDR";
    memcpy(host, text, len);
    host[len] = '\0';

    int offset = 0;
    if (inet_pton(AF_INET, host, cidr->bytes + sizeof(mapped_prefix)) == 1) {
        memcpy(cidr->bytes, mapped_prefix, sizeof(mapped_prefix));
        offset = 96;
    } else if (inet_pton(AF_INET6, host, cidr->bytes) != 1) {
        return "has an entry that is no IP address or CIDR";
    }
    int bits = slash != NULL ? parse_bits(slash + 1, 128 - offset) : 128 - offset;
    if (bits < 0)
        return bad_prefix;
    cidr->bits = (uint8_t)(bits + offset);
    return NULL;
}

static const char *add_cidr(struct sky_trust *trust, const char *text)
{
    struct sky_cidr cidr;
    const char *problem = parse_cidr(text, &cidr);
    if (problem != NULL)
        return problem;
    struct sky_cidr *grown = realloc(trust->cidrs, (trust->cidr_count + 1) * sizeof(*trust->cidrs));
    if (grown == NULL)
        return "memory is out";
    trust->cidrs = grown;
    trust->cidrs[trust->cidr_count++] = cidr;
    return NULL;
}

static const char *add_private(struct sky_trust *trust)
{
    trust->unix_sockets = true;
    for (size_t i = 0; i < sizeof(private_networks) / sizeof(private_networks[0]); i++) {
        const char *problem = add_cidr(trust, private_networks[i]);
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

static const char *add_entry(struct sky_trust *trust, const char *entry)
{
    if (strcmp(entry, "private") == 0)
        return add_private(trust);
    if (strcmp(entry, "unix") == 0) {
        trust->unix_sockets = true;
        return NULL;
    }
    if (strcmp(entry, "always") == 0 || strcmp(entry, "never") == 0)
        return "has always or never beside another entry";
    return add_cidr(trust, entry);
}

static const char *parse_list(const char *text, struct sky_trust *trust)
{
    const char *at = text;
    for (;;) {
        at += strspn(at, " ");
        size_t len = strcspn(at, ",");
        const char *next = at + len;
        while (len > 0 && at[len - 1] == ' ')
            len--;
        char entry[64];
        if (len == 0 || len >= sizeof(entry))
            return len == 0 ? "has an empty entry" : "has an entry that is no IP address or CIDR";
        memcpy(entry, at, len);
        entry[len] = '\0';
        const char *problem = add_entry(trust, entry);
        if (problem != NULL || *next == '\0')
            return problem;
        at = next + 1;
    }
}

const char *sky_trust_parse(const char *text, struct sky_trust *trust)
{
    *trust = (struct sky_trust){0};
    const char *problem = NULL;
    if (strcmp(text, "always") == 0)
        trust->all = true;
    else if (strcmp(text, "never") != 0)
        problem = parse_list(text, trust);
    if (problem == NULL && (trust->text = strdup(text)) == NULL)
        problem = "memory is out";
    if (problem != NULL)
        sky_trust_fini(trust);
    return problem;
}

void sky_trust_fini(struct sky_trust *trust)
{
    free(trust->cidrs);
    free(trust->text);
    *trust = (struct sky_trust){0};
}

static bool covers(const struct sky_cidr *cidr, const uint8_t *address)
{
    size_t whole = cidr->bits / 8;
    if (memcmp(cidr->bytes, address, whole) != 0)
        return false;
    unsigned rest = cidr->bits % 8;
    return rest == 0 || ((cidr->bytes[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool sky_trust_peer(const struct sky_trust *trust, const struct sockaddr *peer)
{
    if (peer == NULL)
        return false;
    if (trust->all)
        return true;
    uint8_t mapped[16];
    const uint8_t *address = mapped;
    if (peer->sa_family == AF_UNIX) {
        return trust->unix_sockets;
    } else if (peer->sa_family == AF_INET) {
        memcpy(mapped, mapped_prefix, sizeof(mapped_prefix));
        memcpy(mapped + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else if (peer->sa_family == AF_INET6) {
        address = ((const struct sockaddr_in6 *)peer)->sin6_addr.s6_addr;
    } else {
        return false;
    }
    for (size_t i = 0; i < trust->cidr_count; i++) {
        if (covers(&trust->cidrs[i], address))
            return true;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whom to believe: `private` (loopback, RFC 1918, link-local, ULA, unix sockets), `always`, `never`
 * or a list of CIDRs, in which `private` and `unix` may stand too. */
#ifndef SKY_PROXY_TRUST_H
#define SKY_PROXY_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct sky_cidr {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t bits;      /* 0..128 */
};

struct sky_trust {
    bool all;               /* `always` */
    bool unix_sockets;      /* peers on a unix socket */
    struct sky_cidr *cidrs; /* heap, owned */
    size_t cidr_count;
    char *text; /* as written; heap, owned; NULL: nothing was read */
};

/* sky_trust_parse: reads one word or a comma-separated list. Returns NULL, or a static message:
 * then *trust believes nobody and owns nothing. */
const char *sky_trust_parse(const char *text, struct sky_trust *trust);

/* sky_trust_fini: frees what trust owns and zeroes it: nobody is believed. */
void sky_trust_fini(struct sky_trust *trust);

/* sky_trust_or: the list that was read, else the general one. */
static inline const struct sky_trust *sky_trust_or(const struct sky_trust *trust,
                                                   const struct sky_trust *general)
{
    return trust->text != NULL ? trust : general;
}

/* sky_trust_peer: whether a peer is believed; NULL never is. Pure. */
bool sky_trust_peer(const struct sky_trust *trust, const struct sockaddr *peer);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* ADDR of the command line and the file: host:port, [v6]:port, :port or unix:/path. */
#ifndef SKY_PROXY_ADDRESS_H
#define SKY_PROXY_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct sky_address {
    char *text;    /* as written, "unix:/run/app.sock" or "app:8000"; the peer of exit spans */
    char *host;    /* without brackets; "" for :port; NULL for unix */
    uint16_t port; /* 0 for unix */
    struct sockaddr_storage sockaddr; /* of a literal host or a unix path; [::]:port for :port */
    socklen_t sockaddr_len;           /* 0: the host is a name, to be resolved when dialled */
};

/* sky_address_parse: fills *address from text; strings are heap, freed by sky_address_fini. Returns
 * NULL, or a static predicate, as "has no port": then *address is all zero. */
const char *sky_address_parse(const char *text, struct sky_address *address);

/* sky_address_is_localhost: neither a literal nor a name to be looked up (RFC 6761, 6.3). */
bool sky_address_is_localhost(const struct sky_address *address);

/* sky_address_is_name: of a host whose addresses the name service knows. */
bool sky_address_is_name(const struct sky_address *address);

/* sky_address_overlaps: whether both cannot be listened at beside each other: of one port, one is
 * all addresses of the machine that the other is among. The same address twice is no overlap. */
bool sky_address_overlaps(const struct sky_address *a, const struct sky_address *b);

/* sky_address_fini: frees the strings and zeroes *address, so that it may be called twice. */
void sky_address_fini(struct sky_address *address);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as one client: an IPv4 address, or a /64 of IPv6, since that is what one host gets
 * and may take any address of. Pure. */
#ifndef SKY_PROXY_LIMIT_ADDRESS_KEY_H
#define SKY_PROXY_LIMIT_ADDRESS_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct sky_address_key {
    uint64_t words[2]; /* the address as in IPv6, the second half zero but for IPv4 */
};

/* sky_address_key_of: false for what has no address, as a unix socket. */
bool sky_address_key_of(const struct sockaddr *address, struct sky_address_key *key);

static inline bool sky_address_key_equal(const struct sky_address_key *a,
                                         const struct sky_address_key *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/* sky_address_key_hash: of the key and a salt beside it; clients that do not know the seed cannot
 * choose addresses that collide. */
uint64_t sky_address_key_hash(const struct sky_address_key *key, uint64_t salt, uint64_t seed);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/address_key.h"

#include <netinet/in.h>
#include <string.h>

bool sky_address_key_of(const struct sockaddr *address, struct sky_address_key *key)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t bytes[16] = {0};

    if (address->sa_family == AF_INET) {
        memcpy(bytes, mapped, sizeof(mapped));
        memcpy(bytes + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const uint8_t *ip = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
        memcpy(bytes, ip, memcmp(ip, mapped, sizeof(mapped)) == 0 ? 16 : 8);
    } else {
        return false;
    }
    memcpy(key->words, bytes, sizeof(bytes));
    return true;
}

/* The finisher of MurmurHash3: each bit of the input changes about half of the output's. */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

uint64_t sky_address_key_hash(const struct sky_address_key *key, uint64_t salt, uint64_t seed)
{
    return mix(mix(mix(seed ^ key->words[0]) ^ key->words[1]) + salt + seed);
}

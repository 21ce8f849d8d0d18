/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections of one worker come in: a listener of the configuration with its TLS. Each
 * connection holds its door. A reload changes a door in place; when the listener is gone, the door
 * stays as it was until the last of its connections has closed. Loop thread only. */
#ifndef SKY_PROXY_FRONT_DOOR_H
#define SKY_PROXY_FRONT_DOOR_H

#include <openssl/ssl.h>

#include "proxy/config/config.h"
#include "proxy/generation.h"

struct sky_door {
    const struct sky_listener_config *config; /* read anew whenever it is needed */
    SSL_CTX *tls;                             /* a reference; NULL: plain */
    struct sky_generation *generation; /* keeps config once the listener is gone, else NULL */
    size_t users;
};

/* sky_door_new: the caller has the first use. config is borrowed until it is changed or retired. */
struct sky_door *sky_door_new(const struct sky_listener_config *config, SSL_CTX *tls);

/* sky_door_change: for what comes next; handshakes under way end with the TLS they began with. */
void sky_door_change(struct sky_door *door, const struct sky_listener_config *config, SSL_CTX *tls);

/* sky_door_retire: the listener is gone; config belongs to the generation. */
void sky_door_retire(struct sky_door *door, struct sky_generation *generation);

static inline struct sky_door *sky_door_hold(struct sky_door *door)
{
    door->users++;
    return door;
}

/* sky_door_release: the last one frees it. NULL is nothing. */
void sky_door_release(struct sky_door *door);

#endif

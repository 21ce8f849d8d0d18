/* SPDX-License-Identifier: Apache-2.0 */
/* A request's hold on a server of an upstream: taken before the first attempt, moved to another
 * server when one fails, ended when the server is done with the request. Loop thread only. */
#ifndef SKY_PROXY_BACK_TURN_H
#define SKY_PROXY_BACK_TURN_H

#include "proxy/back/upstream.h"

/* Embedded in the request; zeroed before its first use. */
struct sky_turn {
    struct sky_upstream_server *server; /* NULL: none is held */
    uint64_t tried;                     /* bits of the servers that were held */
};

/* sky_turn_take: the server to be tried first. */
struct sky_upstream_server *sky_turn_take(struct sky_turn *turn, struct sky_upstream *upstream);

/* sky_turn_next: another server in place of the one held; NULL when none is left, and then that one
 * is kept. */
struct sky_upstream_server *sky_turn_next(struct sky_turn *turn);

/* sky_turn_end: holds none any more; harmless when none was held. */
void sky_turn_end(struct sky_turn *turn);

#endif

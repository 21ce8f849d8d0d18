/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of an upstream a request goes to.
 *
 * Servers that are not backup come first, and of all only those that health.h does not pass over.
 * Among them: by smooth weighted round robin (each earns its weight a turn, the richest is taken
 * and pays what all earned, so turns of a heavy server are spread), or the least of running
 * requests for the weight, and of equals the one whose turn it is. Each worker chooses for itself.
 *
 * A server at its max_connections is not down: it makes a request wait, not go to a backup. */
#ifndef SKY_PROXY_BACK_BALANCE_H
#define SKY_PROXY_BACK_BALANCE_H

#include "proxy/back/upstream.h"

/* sky_balance_choose: a server none of whose bits is in `tried`, with a place of max_connections
 * taken. When health passes all of them over, one that it passes over. NULL when all were tried, or
 * (*full is true then, else false) when those that are left have no place. */
struct sky_upstream_server *sky_balance_choose(struct sky_upstream *upstream, uint64_t tried,
                                               bool *full);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers of an upstream are passed over, by how requests went there. Each worker counts for
 * itself, so nothing is shared. An upstream with one server passes over none. */
#ifndef SKY_PROXY_BACK_HEALTH_H
#define SKY_PROXY_BACK_HEALTH_H

#include "proxy/back/upstream.h"
#include "proxy/exchange/failure.h"

/* sky_health_usable: whether requests may go to the server; true once its time is over. */
bool sky_health_usable(struct sky_upstream_server *server);

/* sky_health_failed: counts what speaks against the server: no connection, or no answer. After
 * max_fails within fail_timeout it is down. */
void sky_health_failed(struct sky_upstream_server *server, enum sky_failure failure);

/* sky_health_answered: what went wrong before does not count any more. */
static inline void sky_health_answered(struct sky_upstream_server *server)
{
    server->fails = 0;
    /* it was asked because all were down */
    atomic_store_explicit(&server->share->down_until_ms, 0, memory_order_relaxed);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of servers that are written by a name: asked for by one resolver in the process, on
 * the main thread, each `resolve`, whether there are requests or not. The rosters have what it
 * finds. */
#ifndef SKY_PROXY_BACK_RESOLVER_H
#define SKY_PROXY_BACK_RESOLVER_H

#include <h2o.h>

#include "proxy/back/roster.h"
#include "proxy/counters.h"

struct sky_resolver;

/* sky_resolver_new: asks at once for names that have no answer yet, for others when it is time. All
 * pointers are borrowed. */
struct sky_resolver *sky_resolver_new(h2o_context_t *ctx, const struct sky_fleet *fleet,
                                      struct sky_counters *counters);

/* sky_resolver_destroy: nobody waits for a lookup under way any more. NULL is harmless. */
void sky_resolver_destroy(struct sky_resolver *resolver);

/* sky_resolver_end: before the loop is destroyed, and once no resolver is left: waits a little for
 * lookups under way. */
void sky_resolver_end(h2o_loop_t *loop);

#endif

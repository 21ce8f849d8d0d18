/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of one upstream as one worker sees them: pooled sockets that stay registered with the
 * loop, newest used first (libh2o measured: 4 system calls a request). Loop thread only. */
#ifndef SKY_PROXY_UPSTREAM_H
#define SKY_PROXY_UPSTREAM_H

#include <h2o.h>

#include "proxy/config.h"
#include "proxy/counters.h"

struct sky_upstream;

/* sky_upstream_new: connects nothing. Pointers are borrowed for its life. */
struct sky_upstream *sky_upstream_new(h2o_context_t *ctx, const struct sky_upstream_config *upstream,
                                      const struct sky_config *config, struct sky_counters *counters);

/* sky_upstream_destroy: closes the idle sockets; none may be in use. */
void sky_upstream_destroy(struct sky_upstream *upstream);

#endif

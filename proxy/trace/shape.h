/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a segment for those who come from the SkyWalking Python agent: agent.shape. Pure but
 * for the pool. */
#ifndef SKY_PROXY_TRACE_SHAPE_H
#define SKY_PROXY_TRACE_SHAPE_H

#include <h2o.h>

#include "proxy/stitch/stitch_merge.h"

/* sky_shape_as_agent: removes the span of the app's handler; what it called hangs under the entry
 * span, and its exceptions and tags are the entry's. Exceptions become logs with the single key
 * Traceback. Span ids stay as they are, since sw8 of outgoing calls names them. New arrays are in
 * the pool. */
void sky_shape_as_agent(h2o_mem_pool_t *pool, struct sky_stitch_merged *app,
                        struct sky_span *entry);

#endif

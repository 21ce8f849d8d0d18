/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request takes. */
#ifndef SKY_PROXY_ROUTE_H
#define SKY_PROXY_ROUTE_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/config.h"
#include "proxy/failure.h"

/* sky_route_find: the first of the ordered routes that fits host and path. The path is the one that
 * the app will see: decoded, without dot segments. The authority may have a port and may be empty.
 * Sets *route on SKY_FAILURE_NONE, else NULL; the other results are NO_ROUTE and UNKNOWN_HOST. */
enum sky_failure sky_route_find(const struct sky_config *config, struct sky_text authority,
                                struct sky_text path, const struct sky_route_config **route);

/* sky_route_choose: the same for a request that h2o_process_request has seen. */
enum sky_failure sky_route_choose(const struct sky_config *config, const h2o_req_t *req,
                                  const struct sky_route_config **route);

#endif

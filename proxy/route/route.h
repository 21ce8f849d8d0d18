/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request takes. */
#ifndef SKY_PROXY_ROUTE_ROUTE_H
#define SKY_PROXY_ROUTE_ROUTE_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/config/config.h"
#include "proxy/exchange/failure.h"
#include "proxy/front/http1_front.h"

/* sky_route_find: the first of the ordered routes that fits host and path. The path is the one that
 * the app will see: decoded, without dot segments. The authority may have a port and may be empty.
 * Sets *route on SKY_FAILURE_NONE, else NULL; the other results are NO_ROUTE and UNKNOWN_HOST. */
enum sky_failure sky_route_find(const struct sky_config *config, struct sky_text authority,
                                struct sky_text path, const struct sky_route_config **route);

/* sky_route_choose: the same for a request that h2o_process_request has seen. */
enum sky_failure sky_route_choose(const struct sky_config *config, const h2o_req_t *req,
                                  const struct sky_route_config **route);

/* sky_route_rest: what follows the route's path in the path and query as they came. A route is
 * found by the normalized path, so the prefix may have been written in another way. */
struct sky_text sky_route_rest(const struct sky_route_config *route, const h2o_req_t *req);

/* sky_route_host: the host that the request names, without its port; empty when it names none. */
struct sky_text sky_route_host(const h2o_req_t *req);

/* sky_route_of_head: of a request that h2o_process_request has not seen yet: only req->input is
 * filled in. NULL: there is none. */
const struct sky_route_config *sky_route_of_head(const struct sky_config *config, h2o_req_t *req);

/* sky_route_body_policy: what is done with the bodies of a route's requests; route may be NULL. */
struct sky_body_policy sky_route_body_policy(const struct sky_config *config,
                                             const struct sky_route_config *route);

#endif

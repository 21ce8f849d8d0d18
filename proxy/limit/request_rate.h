/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request is within rate_limit: that of its route, else the general one. */
#ifndef SKY_PROXY_LIMIT_REQUEST_RATE_H
#define SKY_PROXY_LIMIT_REQUEST_RATE_H

#include <h2o.h>

struct sky_route_config;
struct sky_worker;

/* sky_request_rate_check: 0, or the seconds after which its client may come again. For workers
 * that have a rate_limit. */
uint32_t sky_request_rate_check(struct sky_worker *worker, const h2o_req_t *req,
                                const struct sky_route_config *route);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that a route gives by itself: redirects, and fixed statuses.
 *
 * A location is a text in which `$host` stands for the request's host without its port, `$path` and
 * `$query` for its path and query as they came (the query with its `?`), and `$rest` for the path
 * behind the route's prefix. */
#ifndef SKY_PROXY_ROUTE_ROUTE_ANSWER_H
#define SKY_PROXY_ROUTE_ROUTE_ANSWER_H

#include <h2o.h>

#include "proxy/config/config.h"

/* sky_location_check: NULL, or what is wrong with a location, as a static sentence. */
const char *sky_location_check(const char *location);

/* sky_route_answers: false when the location needs the request's host and it names none. */
bool sky_route_answers(const struct sky_route_config *route, const h2o_req_t *req);

/* sky_route_answer: sends what the route's rules say; they have an answer.status. As with h2o_send,
 * the request may be gone when it returns. */
void sky_route_answer(const struct sky_route_config *route, h2o_req_t *req);

#endif

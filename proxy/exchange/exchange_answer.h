/* SPDX-License-Identifier: Apache-2.0 */
/* An app's answer head as h2o's response, and what a trace is told of a tunnel. */
#ifndef SKY_PROXY_EXCHANGE_EXCHANGE_ANSWER_H
#define SKY_PROXY_EXCHANGE_EXCHANGE_ANSWER_H

#include <h2o.h>

#include "proxy/back/http1_answer.h"
#include "proxy/exchange/tunnel.h"
#include "proxy/trace/trace.h"

/* sky_exchange_fill_response: status, reason, length and fields of the answer become req->res.
 * Values go on pointing into the answer's bytes, which have to outlive the request. Date is left
 * out: h2o writes its own. */
void sky_exchange_fill_response(h2o_req_t *req, const struct sky_answer *answer);

/* sky_exchange_asked_for: whether the protocol that an app has switched to is one of those that the
 * request's Upgrade asked for. */
bool sky_exchange_asked_for(struct sky_text asked, struct sky_text protocol);

/* sky_exchange_inform: passes an interim answer on to the client. */
void sky_exchange_inform(h2o_req_t *req, const struct sky_answer *answer);

/* sky_exchange_tunnel_outcome: of a tunnel at its end, however it came: none is an error. */
struct sky_trace_outcome sky_exchange_tunnel_outcome(const struct sky_tunnel *tunnel);

#endif

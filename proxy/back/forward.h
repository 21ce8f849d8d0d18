/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request as the upstream gets it.
 *
 * Method, path and query, Host and all end-to-end fields pass byte for byte and in order. Left out:
 * the fields of the connection (RFC 9110, 7.6.1: the known ones and those that Connection names),
 * names with an underscore (WSGI cannot tell them from the dashed ones), `Proxy` (it would become
 * HTTP_PROXY), trace fields that the trace replaces, and from peers outside forwarded.trust every
 * Forwarded, X-Forwarded-* and X-Real-IP. Set: X-Forwarded-For (appended to a trusted peer's),
 * -Proto and -Host (unless a trusted peer gave them), Content-Length, the trace's lines; for a
 * route that strips its prefix, X-Forwarded-Prefix (behind a trusted peer's). A route's
 * request_headers come last and change all of that. All of this holds for the fields of
 * forwarded.fields; the others are left out whoever has written them. */
#ifndef SKY_PROXY_BACK_FORWARD_H
#define SKY_PROXY_BACK_FORWARD_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/address.h"
#include "proxy/front/body_stream.h"
#include "proxy/trace/trace.h"
#include "proxy/worker.h"

#define SKY_FORWARD_MAX_NOMINATED 32 /* names in Connection */

/* What a head is made of; all borrowed. */
struct sky_forward {
    struct sky_worker *worker;
    const struct sky_config *config;
    const h2o_req_t *req;
    const struct sky_route_config *route; /* NULL: a plain one */
    const struct sky_trace *trace;        /* NULL: untraced */
    struct sky_text trace_lines;          /* of sky_trace_attempt */
    const struct sky_address *server;     /* names the host for a client that named none */
    const struct sky_body_stream *body;   /* that follows the head; NULL: it is whole */
    bool close;                           /* the connection is to be used once */
    struct sky_text upgrade; /* protocols to be asked for in place of `close`; empty: none */
};

/* sky_forward_check: NULL, or what makes the request unfit to be passed on, as a static text. That
 * its bytes can stand in a head the fronts have seen to. */
const char *sky_forward_check(const h2o_req_t *req);

/* sky_forward_bound: no head is longer than this. */
size_t sky_forward_bound(const struct sky_forward *forward);

/* sky_forward_write: writes the head, empty line included, and returns its length. */
size_t sky_forward_write(const struct sky_forward *forward, char *dst);

#endif

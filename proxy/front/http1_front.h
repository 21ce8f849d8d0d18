/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 towards clients: a connection type of our own that makes h2o_req_t, since h2o 2.2.5's own
 * accepts ambiguous framing, has one timer for everything, and does not see a client leave.
 *
 * A request is handed to h2o's handlers once its head passed the checks of http1_head.h and its
 * body is whole (in memory, or in an unlinked file mapped as req->entity). Reading goes on while it
 * runs, so that a client's going away reaches generator->stop at once. When a request is disposed
 * of, timestamps.response_end_at says whether its answer was whole: it is zero when the client went
 * away, or was cut off, before the last byte. Loop thread only. */
#ifndef SKY_PROXY_FRONT_HTTP1_FRONT_H
#define SKY_PROXY_FRONT_HTTP1_FRONT_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"
#include "proxy/front/http1_refusal.h"

/* The connections of one event loop. It counts requests, answers by class, refusals, clients that
 * went away; connections are counted by who accepts them. */
struct sky_front;
struct sky_access_pen;
struct sky_door;
struct sky_body_share;
struct sky_tunnel;

/* sky_front_prepare: takes libh2o's own chunked encoder out of all paths, since the front does the
 * framing of answers itself. After hosts and paths are registered, before h2o_context_init. */
void sky_front_prepare(h2o_globalconf_t *config);

/* sky_front_new: all pointers are borrowed for the front's life. counters may be NULL. */
struct sky_front *sky_front_new(h2o_context_t *ctx, h2o_hostconf_t **hosts,
                                const struct sky_config *config, struct sky_counters *counters);

/* What is done with a request's body. */
struct sky_body_policy {
    size_t limit_bytes;
    bool streamed;          /* see body_stream.h */
    bool needs_length;      /* to be streamed; chunks are buffered */
    uint32_t retry_after_s; /* not 0: the body is not read, the handler answers without it */
};

/* sky_front_limit_bodies: asks for the policy of each request's body in place of limits.body; only
 * req->input and the fields are filled in then. What all bodies hold together is taken from the
 * share, borrowed for the front's life. */
void sky_front_limit_bodies(struct sky_front *front,
                            struct sky_body_policy (*policy)(h2o_req_t *req),
                            struct sky_body_share *share);

/* sky_front_log_to: heads that are refused, and so reach no handler, are written there. Borrowed
 * for the front's life; NULL: nowhere. */
void sky_front_log_to(struct sky_front *front, struct sky_access_pen *pen);

/* sky_front_accept: takes over an accepted socket. */
void sky_front_accept(struct sky_front *front, h2o_socket_t *sock);

/* sky_front_prepare_tls: a context is for sky_front_accept_at from now on, and for nothing else.
 * Before its first use. */
void sky_front_prepare_tls(SSL_CTX *ctx);

/* sky_front_accept_at: the same for a listener of the configuration, whose door the connection
 * holds: after a TLS handshake when the door has a context (SIGPIPE has to be ignored then), and
 * with what the listener says of answers. */
void sky_front_accept_at(struct sky_front *front, h2o_socket_t *sock, struct sky_door *door);

/* sky_front_change: limits and times of another configuration, borrowed as in sky_front_new. Heads
 * and bodies that come in now are held to the new ones, times that run already too. */
void sky_front_change(struct sky_front *front, const struct sky_config *config);

/* sky_front_drain: idle connections close after a second without a request, since one may be on its
 * way; others after the answer under way, which says Connection: close. */
void sky_front_drain(struct sky_front *front);

/* sky_front_close_oldest_idle: the connection that has waited for a request for longest; false when
 * none does. */
bool sky_front_close_oldest_idle(struct sky_front *front);

/* sky_front_connection_count: any thread. */
size_t sky_front_connection_count(const struct sky_front *front);

/* sky_front_close_all: cuts every connection; running generators are stopped. */
void sky_front_close_all(struct sky_front *front);

/* sky_front_destroy: closes what is left. */
void sky_front_destroy(struct sky_front *front);

/* sky_front_refusal: why the front has refused this request's body, if it has. There is no entity
 * then. The handler traces the request and answers with the status of sky_refusal_row; the
 * connection closes after it. */
enum sky_refusal sky_front_refusal(h2o_req_t *req);

/* sky_front_body_policy: what was said of this request's body; NULL: nobody was asked, as it has
 * none. Valid as long as the request. */
const struct sky_body_policy *sky_front_body_policy(h2o_req_t *req);

/* sky_front_forwarded_trust, sky_front_trust_incoming: whom the request's listener believes, as the
 * configuration has it now, if it has a list of its own; else the general one. */
const struct sky_trust *sky_front_forwarded_trust(const h2o_req_t *req,
                                                  const struct sky_trust *general);
const struct sky_trust *sky_front_trust_incoming(const h2o_req_t *req,
                                                 const struct sky_trust *general);

/* sky_front_inform: passes an interim answer (1xx but 101) on. Dropped for HTTP/1.0 clients and for
 * connections of another kind. Fields are copied. */
void sky_front_inform(h2o_req_t *req, int status, const h2o_header_t *fields, size_t field_count);

/* sky_front_upgrade: the protocols that the request asks to switch to and that may be passed on to
 * its app, as they stand in Upgrade; empty: none. */
struct sky_text sky_front_upgrade(h2o_req_t *req);

/* sky_front_switch: makes of the client's socket one end of the tunnel, a 101 with the fields of
 * req->res the first thing that goes out to it, and what the client has sent already the first that
 * goes to the app. The tunnel is borrowed until the request is disposed of, and still to be
 * started. False, and nothing is done, when the client's socket cannot be had. */
bool sky_front_switch(h2o_req_t *req, struct sky_text protocol, struct sky_tunnel *tunnel);

/* sky_front_end_tunnel: closes the client's connection; the request is disposed of in this call. */
void sky_front_end_tunnel(h2o_req_t *req);

/* sky_front_received_us: when the first byte of the request line was read; microseconds since 1970.
 */
static inline int64_t sky_front_received_us(const h2o_req_t *req)
{
    return (int64_t)req->timestamps.request_begin_at.tv_sec * 1000000 +
           req->timestamps.request_begin_at.tv_usec;
}

#endif

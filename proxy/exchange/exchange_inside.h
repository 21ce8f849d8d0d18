/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of exchange: what its files share. exchange.c has the states and a request's begin and
 * end, exchange_attempt.c the way to an app that has the request, exchange_upload.c that of a body
 * which is not buffered, exchange_relay.c the answer's way back, exchange_tunnel.c the answer that
 * switches protocols. */
#ifndef SKY_PROXY_EXCHANGE_EXCHANGE_INSIDE_H
#define SKY_PROXY_EXCHANGE_EXCHANGE_INSIDE_H

#include <h2o.h>

#include "proxy/access/access_request.h"
#include "proxy/back/dial.h"
#include "proxy/back/http1_back.h"
#include "proxy/back/turn.h"
#include "proxy/exchange/error_pages.h"
#include "proxy/exchange/failure.h"
#include "proxy/exchange/tunnel.h"
#include "proxy/front/body_stream.h"
#include "proxy/tenure.h"
#include "proxy/trace/trace.h"
#include "proxy/worker.h"

enum sky_exchange_state {
    SKY_EXCHANGE_DIALLING,
    SKY_EXCHANGE_WAITING,
    SKY_EXCHANGE_HOLDING,
    SKY_EXCHANGE_RELAYING,
    SKY_EXCHANGE_TUNNEL,
    SKY_EXCHANGE_FINISHED
};

struct sky_upload;

struct sky_exchange {
    h2o_generator_t super; /* first: h2o hands it back */
    enum sky_exchange_state state;
    struct sky_worker *worker;
    struct sky_tenure *tenure; /* held: of the configuration that the request began with */
    h2o_req_t *req;
    struct sky_trace *trace; /* NULL: untraced */
    struct sky_text trace_lines;
    const struct sky_route_config *route; /* NULL: none, or a plain one */
    struct sky_upstream *upstream;
    struct sky_upstream_server *server; /* of the attempt; held */
    struct sky_turn turn;               /* holds it, until it has answered */
    uint32_t tries;                     /* servers that it went to */
    uint64_t tried_ms;                  /* loop time of the first */
    bool moved;        /* a server closed without an answer, and another one was asked */
    bool reused;       /* the attempt's connection has carried an answer before */
    size_t head_bytes; /* of the attempt */
    bool sending;      /* until h2o calls proceed */
    bool cut;          /* h2o was told to cut the answer */
    enum sky_failure failure;
    uint32_t retry_after_s; /* of RATE_LIMITED */
    struct sky_dial dial;
    struct sky_back back;
    struct sky_upload *upload; /* NULL: the body is whole */
    struct sky_text protocol;  /* that the app has switched to */
    struct sky_tunnel *tunnel; /* of TUNNEL */
    struct sky_upstream_conn *tunnel_conn;
    h2o_timeout_entry_t head_timer;
    struct sky_access_times times;
};

/* ---- exchange.c ---- */

/* sky_exchange_move: to a state that may follow the present one. */
void sky_exchange_move(struct sky_exchange *exchange, enum sky_exchange_state to);

/* sky_exchange_page: the user's own page for that status, or NULL. */
const struct sky_error_page *sky_exchange_page(const struct sky_exchange *exchange, int status);

/* sky_exchange_note_failure: counts and logs it; it is what the trace will say. */
void sky_exchange_note_failure(struct sky_exchange *exchange, enum sky_failure failure);

/* sky_exchange_fail: the same, and the error page; h2o has nothing of an answer yet. The request
 * may be gone afterwards. */
void sky_exchange_fail(struct sky_exchange *exchange, enum sky_failure failure);

/* ---- exchange_attempt.c ---- */

/* sky_exchange_ask: the first attempt, at a server of this upstream. */
void sky_exchange_ask(struct sky_exchange *exchange, const struct sky_upstream_config *upstream);

/* ---- exchange_upload.c ---- */

/* sky_exchange_prepare_upload: finds out whether the body is handed on while it comes in. */
void sky_exchange_prepare_upload(struct sky_exchange *exchange);

/* sky_exchange_pump: hands on what is here of it, if the app's connection takes it; nothing for a
 * body that is whole. The request may have failed afterwards. */
void sky_exchange_pump(struct sky_exchange *exchange);

/* sky_exchange_body: what is known of it; NULL: the body is whole. */
const struct sky_body_stream *sky_exchange_body(const struct sky_exchange *exchange);

/* sky_exchange_body_begun: a part of it is gone, so that the request cannot be sent again. */
bool sky_exchange_body_begun(const struct sky_exchange *exchange);

/* ---- exchange_relay.c ---- */

/* sky_exchange_take_answer: the app's head, final or 101, becomes that of h2o's response. */
void sky_exchange_take_answer(struct sky_exchange *exchange, const struct sky_answer *answer);

/* sky_exchange_relay: hands on what has come, if h2o is ready for it and there is anything new. */
void sky_exchange_relay(struct sky_exchange *exchange);

/* sky_exchange_prepare_relay: the generator, and the timer of HOLDING. */
void sky_exchange_prepare_relay(struct sky_exchange *exchange);

/* ---- exchange_tunnel.c ---- */

/* sky_exchange_switched: an app's 101; whether it is to what the request asked for. */
bool sky_exchange_switched(struct sky_exchange *exchange, const struct sky_answer *answer);

/* sky_exchange_open_tunnel: between the client's socket and the app's. The request lasts as long as
 * the tunnel: its dispose ends both. */
void sky_exchange_open_tunnel(struct sky_exchange *exchange);

/* sky_exchange_close_tunnel: frees what it holds. */
void sky_exchange_close_tunnel(struct sky_exchange *exchange);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One request's life between client and upstream.
 *
 *            no idle socket                connection
 *   on_req ───────────────► DIALLING ──────────────────────┐
 *     │ │  idle socket          │                           ▼
 *     │ └───────────────────────┼──────────────────────► WAITING ──┐ dead idle socket, idempotent:
 *     │ refused, no route       │ failure                  │ │ ▲   │ once more, fresh connection
 *     ▼                         ▼              failure     │ │ └───┘
 *   FINISHED ◄──────────── error page ◄────────────────────┤ │ head
 *     ▲                                        failure     │ ▼
 *     │                                                  HOLDING  (for the body's first bytes)
 *     │                                                    │ bytes, the end, or a millisecond
 *     └────────────────── last bytes, or the cut ◄─────── RELAYING  (with back-pressure)
 *
 * A 101 to what the request asked for leads from WAITING to TUNNEL, the end of which disposes of
 * the request.
 *
 *   state      h2o has              under way                  ends by
 *   DIALLING   nothing              dial                       connection, failure
 *   WAITING    nothing              back                       answer's head, failure
 *   HOLDING    nothing              back                       body, timer, failure
 *   RELAYING   generator            back, a send, or both      end of the body, failure
 *   TUNNEL     nothing              tunnel                     dispose
 *   FINISHED   the last of it       h2o's last write           dispose
 *
 * dispose (of the request's pool) may come in each state and is the only end: the trace ends there,
 * when the last byte is out or the client has gone. What h2o_send gets, it may answer by disposing
 * of the request: nothing is touched after it.
 *
 * Failures: failure.def. Before h2o has a head: an error page. After it: the client's connection is
 * cut, so that nobody takes a part for the whole. Client gone: the upstream's socket is closed. */
#include "proxy/exchange/exchange.h"

#include <assert.h>

#include "proxy/access/access_request.h"
#include "proxy/back/dial.h"
#include "proxy/back/forward.h"
#include "proxy/back/health.h"
#include "proxy/back/http1_back.h"
#include "proxy/exchange/error_page.h"
#include "proxy/exchange/exchange_answer.h"
#include "proxy/exchange/tunnel.h"
#include "proxy/front/http1_front.h"
#include "proxy/route/file_send.h"
#include "proxy/route/route.h"
#include "proxy/route/route_answer.h"
#include "proxy/route/route_rules.h"
#include "proxy/trace/trace.h"
#include "proxy/worker.h"
#include "reporter/log.h"

/* A head up to this size is put together on the stack. */
#define STACK_HEAD_BYTES 4096

/* What must not be sent twice goes by a socket that the server has hardly had time to give up. */
#define UNREPEATABLE_IDLE_MS 500

enum state { DIALLING, WAITING, HOLDING, RELAYING, TUNNEL, FINISHED };

struct exchange {
    h2o_generator_t super; /* first: h2o hands it back */
    enum state state;
    struct sky_worker *worker;
    h2o_req_t *req;
    struct sky_trace *trace; /* NULL: untraced */
    struct sky_text trace_lines;
    const struct sky_route_config *route; /* NULL: none, or a plain one */
    struct sky_upstream *upstream;
    struct sky_upstream_server *server; /* of the attempt */
    size_t servers_left;                /* to be tried when one does not take the connection */
    bool reused;                        /* the attempt's connection has carried an answer before */
    bool sending;                       /* until h2o calls proceed */
    bool cut;                           /* h2o was told to cut the answer */
    enum sky_failure failure;
    struct sky_dial dial;
    struct sky_back back;
    struct sky_text protocol;  /* that the app has switched to */
    struct sky_tunnel *tunnel; /* of TUNNEL */
    struct sky_upstream_conn *tunnel_conn;
    h2o_timeout_entry_t head_timer;
    h2o_timeout_entry_t start_timer;
    struct sky_access_times times;
};

static void start_attempt(struct exchange *exchange, struct sky_upstream_server *server,
                          bool fresh);

static void move(struct exchange *exchange, enum state to)
{
    static const bool allowed[][FINISHED + 1] = {
        [DIALLING] = {[DIALLING] = true, [WAITING] = true, [FINISHED] = true},
        [WAITING] = {[DIALLING] = true, [HOLDING] = true, [TUNNEL] = true, [FINISHED] = true},
        [HOLDING] = {[RELAYING] = true, [FINISHED] = true},
        [RELAYING] = {[FINISHED] = true},
        [TUNNEL] = {false},
        [FINISHED] = {false},
    };

    assert(allowed[exchange->state][to]);
    exchange->state = to;
}

static bool method_is(const h2o_req_t *req, const char *method)
{
    return h2o_memis(req->method.base, req->method.len, method, strlen(method));
}

/* RFC 9110, 9.2.2 */
static bool is_idempotent(const h2o_req_t *req)
{
    return method_is(req, "GET") || method_is(req, "HEAD") || method_is(req, "OPTIONS") ||
           method_is(req, "PUT") || method_is(req, "DELETE") || method_is(req, "TRACE");
}

/* --- failures --- */

/* Without the query: it may hold what nobody should store. */
static void log_failure(const struct exchange *exchange)
{
    static struct sky_log_limit limit;
    const h2o_req_t *req = exchange->req;
    const char *defect = exchange->back.defect;
    size_t path_len = req->query_at != SIZE_MAX ? req->query_at : req->path.len;

    sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s (%s): %.*s %.*s: %s%s%s",
                    exchange->upstream->config->name, exchange->server->address->text,
                    (int)req->method.len, req->method.base, (int)path_len, req->path.base,
                    sky_failure_info(exchange->failure)->text, defect != NULL ? ": " : "",
                    defect != NULL ? defect : "");
}

/* Nothing of an answer has been handed to h2o yet. */
static void finish_with_page(struct exchange *exchange, enum sky_failure failure)
{
    move(exchange, FINISHED);
    exchange->failure = failure;
    sky_error_page_send(exchange->req, failure);
}

static void note_failure(struct exchange *exchange, enum sky_failure failure)
{
    exchange->failure = failure;
    sky_count(&exchange->worker->counters, sky_failure_info(failure)->counter);
    if (exchange->server != NULL)
        log_failure(exchange);
}

static void fail(struct exchange *exchange, enum sky_failure failure)
{
    note_failure(exchange, failure);
    finish_with_page(exchange, failure);
}

/* --- answer --- */

static void send_part(struct exchange *exchange, const struct sky_back_part *part,
                      h2o_send_state_t state)
{
    h2o_iovec_t pieces[SKY_BACK_MAX_PIECES]; /* h2o changes them */

    memcpy(pieces, part->pieces, part->count * sizeof(pieces[0]));
    if (exchange->state == HOLDING) {
        move(exchange, RELAYING);
        h2o_timeout_unlink(&exchange->head_timer);
        h2o_start_response(exchange->req, &exchange->super);
    }
    exchange->sending = true;
    exchange->cut = state == H2O_SEND_STATE_ERROR;
    if (state != H2O_SEND_STATE_IN_PROGRESS)
        move(exchange, FINISHED);
    h2o_send(exchange->req, pieces, part->count, state);
}

/* Hands on what has come, if h2o is ready for it and there is anything new. */
static void relay(struct exchange *exchange)
{
    if (exchange->sending)
        return;
    const struct sky_back_part *part = sky_back_take(&exchange->back);
    if (exchange->back.state == SKY_BACK_WHOLE) {
        send_part(exchange, part, H2O_SEND_STATE_FINAL);
    } else if (exchange->back.state == SKY_BACK_FAILED && exchange->state == HOLDING) {
        h2o_timeout_unlink(&exchange->head_timer);
        fail(exchange, exchange->back.failure); /* just in time for a page */
    } else if (exchange->back.state == SKY_BACK_FAILED) {
        note_failure(exchange, exchange->back.failure);
        send_part(exchange, part, H2O_SEND_STATE_ERROR);
    } else if (part->count != 0) {
        send_part(exchange, part, H2O_SEND_STATE_IN_PROGRESS);
    } else if (exchange->state == HOLDING && !h2o_timeout_is_linked(&exchange->head_timer)) {
        h2o_timeout_link(exchange->worker->ctx.loop, &exchange->upstream->head_hold,
                         &exchange->head_timer);
    }
}

static void on_head_timer(h2o_timeout_entry_t *entry)
{
    static const struct sky_back_part nothing;
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, head_timer, entry);

    send_part(exchange, &nothing, H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct exchange *exchange = (struct exchange *)generator;

    (void)req;
    exchange->sending = false;
    relay(exchange);
}

/* The client has gone. Dispose follows, but maybe not at once. */
static void on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
    struct exchange *exchange = (struct exchange *)generator;

    (void)req;
    sky_back_cancel(&exchange->back);
}

static void on_sent(struct sky_back *back)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, back, back);

    if (exchange->trace != NULL)
        sky_trace_sent(exchange->trace);
}

static void on_informed(struct sky_back *back, const struct sky_answer *answer)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, back, back);

    sky_exchange_inform(exchange->req, answer);
}

static void take_answer(struct exchange *exchange, const struct sky_answer *answer)
{
    sky_access_stamp(exchange->worker, &exchange->times, &exchange->times.answered_us);
    sky_health_answered(exchange->server);
    if (exchange->trace != NULL) {
        sky_trace_answered(exchange->trace);
        sky_trace_stitch(exchange->trace, answer->stitch, answer->stitch_count);
        if (answer->stitch_data_count != 0)
            sky_trace_stitch_data(exchange->trace, answer->stitch_data, answer->stitch_data_count);
    }
    sky_exchange_fill_response(exchange->req, answer);
    if (exchange->route != NULL)
        sky_route_change_answer(exchange->route->rules, exchange->req);
}

static void on_answered(struct sky_back *back, const struct sky_answer *answer)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, back, back);

    take_answer(exchange, answer);
    move(exchange, HOLDING);
}

/* --- tunnel --- */

static bool on_switched(struct sky_back *back, const struct sky_answer *answer)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, back, back);

    if (!sky_exchange_asked_for(sky_front_upgrade(exchange->req), answer->upgrade))
        return false;
    exchange->protocol = answer->upgrade;
    take_answer(exchange, answer);
    return true;
}

static void on_tunnel_end(struct sky_tunnel *tunnel)
{
    sky_front_end_tunnel(((struct exchange *)tunnel->owner)->req);
}

/* The request lasts as long as the tunnel: its dispose ends both. */
static void open_tunnel(struct exchange *exchange)
{
    struct sky_tunnel *tunnel = h2o_mem_alloc_pool(&exchange->req->pool, sizeof(*tunnel));
    struct sky_text early;

    sky_tunnel_init(tunnel, &exchange->worker->tunnels, on_tunnel_end, exchange);
    if (!sky_front_switch(exchange->req, exchange->protocol, tunnel)) {
        sky_back_cancel(&exchange->back);
        fail(exchange, SKY_FAILURE_SWITCHED);
        return;
    }
    move(exchange, TUNNEL);
    exchange->tunnel = tunnel;
    exchange->tunnel_conn = sky_back_detach(&exchange->back, &early);
    sky_tunnel_attach(&tunnel->app, exchange->tunnel_conn->sock, &sky_tunnel_plain,
                      exchange->tunnel_conn->sock);
    sky_tunnel_received(&tunnel->app, early);
    sky_tunnel_start(tunnel);
}

static void close_tunnel(struct exchange *exchange)
{
    sky_tunnel_fini(exchange->tunnel);
    exchange->req->bytes_sent = exchange->tunnel->app.bytes;
    sky_upstream_close(exchange->tunnel_conn);
}

/* A kept connection may have been closed by the server just as the request went out. */
static bool may_retry(const struct exchange *exchange)
{
    const struct sky_back *back = &exchange->back;

    return exchange->reused && back->failure == SKY_FAILURE_CLOSED && back->unanswered &&
           (back->unwritten || is_idempotent(exchange->req));
}

static void on_progress(struct sky_back *back)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, back, back);

    if (exchange->state != WAITING) {
        relay(exchange);
    } else if (back->state == SKY_BACK_SWITCHED) {
        open_tunnel(exchange);
    } else if (may_retry(exchange)) {
        sky_count(&exchange->worker->counters, SKY_COUNT_upstream_retries);
        start_attempt(exchange, exchange->server, true);
    } else {
        sky_health_failed(exchange->server, back->failure);
        fail(exchange, back->failure);
    }
}

/* --- request --- */

static void write_request(struct exchange *exchange, struct sky_upstream_conn *conn)
{
    static const struct sky_back_events events = {on_sent, on_informed, on_answered, on_progress,
                                                  on_switched};
    h2o_req_t *req = exchange->req;
    struct sky_forward forward = {
        .worker = exchange->worker,
        .req = req,
        .route = exchange->route,
        .trace = exchange->trace,
        .trace_lines = exchange->trace_lines,
        .server = exchange->server->address,
        .close = exchange->worker->config->timeouts.upstream_idle_ms == 0,
        .upgrade = sky_front_upgrade(req),
    };
    char stack[STACK_HEAD_BYTES];
    size_t bound = sky_forward_bound(&forward);
    char *head = bound <= sizeof(stack) ? stack : h2o_mem_alloc_pool(&req->pool, bound);
    size_t len = sky_forward_write(&forward, head);

    sky_access_stamp(exchange->worker, &exchange->times, &exchange->times.connected_us);
    move(exchange, WAITING);
    exchange->reused = conn->reused;
    conn->response = sky_upstream_clock(
        exchange->upstream, exchange->route != NULL ? exchange->route->rules->response_ms : 0);
    sky_back_fini(&exchange->back); /* of the attempt before */
    sky_back_start(&exchange->back, &events, conn, &req->pool, sky_text(head, len), req->entity,
                   method_is(req, "HEAD"));
}

/* Nothing was sent yet, so another server is as good; but who has waited for a timeout does not
 * wait for another one. */
static bool try_next_server(struct exchange *exchange, enum sky_failure failure)
{
    if (exchange->servers_left == 0 || failure == SKY_FAILURE_CONNECT_TIMEOUT ||
        failure == SKY_FAILURE_BACKLOG_FULL)
        return false;
    exchange->servers_left--;
    start_attempt(exchange, sky_health_next(exchange->server), false);
    return true;
}

static void on_dialled(struct sky_dial *dial, struct sky_upstream_conn *conn,
                       enum sky_failure failure)
{
    struct exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct exchange, dial, dial);

    if (conn == NULL)
        sky_health_failed(exchange->server, failure);
    if (conn != NULL)
        write_request(exchange, conn);
    else if (!try_next_server(exchange, failure))
        fail(exchange, failure);
}

static void start_attempt(struct exchange *exchange, struct sky_upstream_server *server, bool fresh)
{
    const h2o_req_t *req = exchange->req;
    bool repeatable = req->entity.len == 0 && is_idempotent(req);

    exchange->server = server;
    sky_access_start(exchange->worker, &exchange->times);
    if (exchange->trace != NULL)
        exchange->trace_lines = sky_trace_attempt(exchange->trace, server->address);
    struct sky_upstream_conn *conn =
        fresh ? NULL : sky_upstream_take(server, repeatable ? UINT64_MAX : UNREPEATABLE_IDLE_MS);
    if (conn != NULL) {
        write_request(exchange, conn);
        return;
    }
    move(exchange, DIALLING);
    sky_dial_start(&exchange->dial, server, on_dialled);
}

static void start(struct exchange *exchange)
{
    exchange->servers_left = exchange->upstream->config->server_count - 1;
    start_attempt(exchange, sky_upstream_choose(exchange->upstream), false);
}

static void on_start_timer(h2o_timeout_entry_t *entry)
{
    start(H2O_STRUCT_FROM_MEMBER(struct exchange, start_timer, entry));
}

/* --- life --- */

/* Whether the client left before the last byte was out. HTTP/1 tells, by the time of that byte. */
static bool client_gone(const struct exchange *exchange)
{
    const h2o_req_t *req = exchange->req;

    if (exchange->state != FINISHED)
        return true;
    return !exchange->cut && req->version < 0x200 && req->timestamps.response_end_at.tv_sec == 0;
}

static struct sky_trace_outcome conclude(struct exchange *exchange)
{
    if (exchange->state == TUNNEL)
        return sky_exchange_tunnel_outcome(exchange->tunnel);
    bool gone = client_gone(exchange);

    if (gone && exchange->worker->cutting) {
        gone = false;
        exchange->cut = true;
        note_failure(exchange, SKY_FAILURE_STOPPED);
    }
    return (struct sky_trace_outcome){
        .status = exchange->state >= RELAYING ? exchange->req->res.status : 0,
        .body_bytes = exchange->req->bytes_sent,
        .client_gone = gone,
        .cut = exchange->cut,
        .failure = exchange->failure != SKY_FAILURE_NONE ? sky_failure_info(exchange->failure)->text
                                                         : NULL,
    };
}

static void end(struct exchange *exchange)
{
    const struct sky_trace_outcome outcome = conclude(exchange);
    const struct sky_address *server = exchange->server != NULL ? exchange->server->address : NULL;

    sky_access_request(exchange->worker, exchange->req, &exchange->times, server, exchange->trace,
                       &outcome);
    if (exchange->trace != NULL)
        sky_trace_end(exchange->trace, &outcome);
}

static void on_dispose(void *arg)
{
    struct exchange *exchange = arg;

    h2o_timeout_unlink(&exchange->head_timer);
    h2o_timeout_unlink(&exchange->start_timer);
    sky_dial_cancel(&exchange->dial);
    sky_back_fini(&exchange->back);
    if (exchange->tunnel != NULL)
        close_tunnel(exchange);
    end(exchange);
}

static struct sky_trace *begin_trace(const struct exchange *exchange)
{
    if (exchange->route != NULL && exchange->route->rules->traced == SKY_SWITCH_OFF) {
        sky_count(&exchange->worker->counters, SKY_COUNT_untraced_route);
        return NULL;
    }
    return sky_trace_begin(exchange->worker, exchange->req);
}

static struct exchange *create(h2o_req_t *req, const struct sky_route_config *route)
{
    struct exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_dispose);

    memset(exchange, 0, sizeof(*exchange));
    exchange->super = (h2o_generator_t){on_proceed, on_stop};
    exchange->worker = sky_worker_of(req);
    exchange->req = req;
    exchange->head_timer.cb = on_head_timer;
    exchange->start_timer.cb = on_start_timer;
    exchange->route = route != NULL && route->rules != NULL ? route : NULL;
    exchange->trace = begin_trace(exchange);
    return exchange;
}

static void ask_upstream(struct exchange *exchange, const struct sky_upstream_config *upstream)
{
    struct sky_worker *worker = exchange->worker;

    exchange->upstream = worker->upstreams[upstream - worker->config->upstreams];
    if (exchange->req->version < 0x200)
        start(exchange);
    else /* a stream that is reset in the read that began it never touches the upstream */
        h2o_timeout_link(worker->ctx.loop, &worker->ctx.zero_timeout, &exchange->start_timer);
}

/* False when there is no such file, and the app is to be asked. */
static bool serve_file(struct exchange *exchange)
{
    const struct sky_route_config *route = exchange->route;
    struct sky_file file;
    enum sky_failure failure = sky_file_look(route, exchange->req, &file);

    if (failure == SKY_FAILURE_NONE) {
        sky_count(&exchange->worker->counters, SKY_COUNT_static_answers);
        move(exchange, FINISHED);
        sky_file_answer(route, exchange->req, &file, &exchange->cut);
    } else if (route->upstream != NULL && failure != SKY_FAILURE_FILE_BROKEN) {
        return false;
    } else {
        fail(exchange, failure);
    }
    return true;
}

static void answer(struct exchange *exchange, const struct sky_route_config *route)
{
    const struct sky_route_rules *rules = route->rules;

    if (rules != NULL && rules->answer.status != 0) {
        move(exchange, FINISHED);
        sky_route_answer(route, exchange->req);
    } else if (rules == NULL || rules->files.folder == NULL || !serve_file(exchange)) {
        ask_upstream(exchange, route->upstream);
    }
}

static int on_req(h2o_handler_t *handler, h2o_req_t *req)
{
    const struct sky_route_config *route;
    enum sky_failure unrouted = sky_route_choose(sky_worker_of(req)->config, req, &route);
    struct exchange *exchange = create(req, route);
    int refused = sky_front_refusal(req);

    (void)handler;
    if (refused != 0) {
        finish_with_page(exchange, sky_failure_of_body(refused));
    } else if (sky_forward_check(req) != NULL) {
        fail(exchange, SKY_FAILURE_BAD_REQUEST);
    } else if (unrouted != SKY_FAILURE_NONE) {
        fail(exchange, unrouted);
    } else if (exchange->route != NULL && req->entity.len > route->rules->body) {
        fail(exchange, SKY_FAILURE_BODY_TOO_LARGE); /* in HTTP/2, libh2o knows one limit for all */
    } else {
        answer(exchange, route);
    }
    return 0;
}

void sky_exchange_register(h2o_pathconf_t *path)
{
    h2o_handler_t *handler = h2o_create_handler(path, sizeof(*handler));

    handler->on_req = on_req;
    sky_file_prepare(path->mimemap);
}

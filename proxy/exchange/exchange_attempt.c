/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to an app that has it.
 *
 * Happy path: a server is chosen, maybe waited for -> an idle socket, or a new one -> the request
 * is written -> the answer's head. Failures: the server does not take the connection, be it that it
 * refuses it or that timeouts.connect has passed: the next one is tried. A kept socket dies before
 * it has answered: once more by a fresh one, if the request may be sent twice. A fresh one does:
 * once by another server, if it may. Everything else: the error page. */
#include "proxy/back/health.h"
#include "proxy/back/proxy_out.h"
#include "proxy/back/request_head.h"
#include "proxy/back/upstream.h"
#include "proxy/back/uwsgi.h"
#include "proxy/exchange/exchange_answer.h"
#include "proxy/exchange/exchange_inside.h"
#include "proxy/front/http1_front.h"
#include "proxy/route/route_rules.h"

/* What must not be sent twice goes by a socket that the server has hardly had time to give up. */
#define UNREPEATABLE_IDLE_MS 500

static void start_attempt(struct sky_exchange *exchange, struct sky_upstream_server *server,
                          bool fresh);

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

static void on_sent(struct sky_back *back)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back);

    if (exchange->trace != NULL)
        sky_trace_sent(exchange->trace);
}

static void on_wrote(struct sky_back *back)
{
    sky_exchange_pump(H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back));
}

static void on_informed(struct sky_back *back, const struct sky_answer *answer)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back);

    sky_exchange_inform(exchange->req, answer);
}

static void on_answered(struct sky_back *back, const struct sky_answer *answer)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back);

    sky_exchange_take_answer(exchange, answer);
    sky_exchange_move(exchange, SKY_EXCHANGE_HOLDING);
}

static bool on_switched(struct sky_back *back, const struct sky_answer *answer)
{
    return sky_exchange_switched(H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back), answer);
}

/* A kept connection may have been closed by the server just as the request went out. */
static bool may_repeat(const struct sky_exchange *exchange)
{
    const struct sky_back *back = &exchange->back;

    return exchange->reused && back->failure == SKY_FAILURE_CLOSED && back->unanswered &&
           !sky_exchange_body_begun(exchange) && (back->unwritten || is_idempotent(exchange->req));
}

/* The request has waited for a place. */
static void on_turn(struct sky_turn *turn, enum sky_failure failure)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, turn, turn);

    if (exchange->trace != NULL)
        sky_trace_queued(exchange->trace);
    if (failure == SKY_FAILURE_NONE)
        start_attempt(exchange, turn->server, false);
    else
        sky_exchange_fail(exchange, failure);
}

/* retry of the upstream. */
static bool may_move_on(const struct sky_exchange *exchange)
{
    const struct sky_upstream_config *config = exchange->upstream->config;
    uint64_t passed_ms = h2o_now(exchange->worker->ctx.loop) - exchange->tried_ms;

    return (config->retry.tries == 0 || exchange->tries < config->retry.tries) &&
           (config->retry.timeout_ms == 0 || passed_ms < config->retry.timeout_ms);
}

/* Starts at another server, or waits for it; false: there is none, or it is not to. */
static bool move_on(struct sky_exchange *exchange)
{
    if (!may_move_on(exchange))
        return false;
    exchange->tries++;
    switch (sky_turn_next(&exchange->turn, on_turn)) {
    case SKY_TURN_HELD:
        start_attempt(exchange, exchange->turn.server, false);
        return true;
    case SKY_TURN_QUEUED:
        sky_exchange_move(exchange, SKY_EXCHANGE_DIALLING);
        return true;
    default:
        return false;
    }
}

/* The server died of it, or with it: what may be done twice is done by another one, once, so that a
 * request that kills its server does not kill them all. */
static bool try_elsewhere(struct sky_exchange *exchange)
{
    const struct sky_back *back = &exchange->back;

    if (back->failure != SKY_FAILURE_CLOSED || !back->unanswered || exchange->moved ||
        sky_exchange_body_begun(exchange) || !is_idempotent(exchange->req) || !move_on(exchange))
        return false;
    exchange->moved = true;
    sky_count(&exchange->worker->counters, SKY_COUNT_upstream_moves);
    return true;
}

/* uWSGI closes the connection, and says why in its log alone, on a packet above its buffer-size. */
static enum sky_failure failure_of(const struct sky_exchange *exchange)
{
    const struct sky_back *back = &exchange->back;
    bool uwsgi = exchange->upstream->config->protocol == SKY_UPSTREAM_UWSGI;

    return uwsgi && back->failure == SKY_FAILURE_CLOSED && back->unanswered &&
                   exchange->head_bytes > SKY_UWSGI_DEFAULT_BUFFER_BYTES
               ? SKY_FAILURE_UWSGI_BUFFER
               : back->failure;
}

static void on_progress(struct sky_back *back)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, back, back);

    if (back->state == SKY_BACK_WHOLE)
        sky_turn_end(&exchange->turn); /* however long the client takes */
    if (exchange->state != SKY_EXCHANGE_WAITING) {
        sky_exchange_relay(exchange);
    } else if (back->state == SKY_BACK_SWITCHED) {
        sky_exchange_open_tunnel(exchange);
    } else if (may_repeat(exchange)) {
        sky_count(&exchange->worker->counters, SKY_COUNT_upstream_retries);
        start_attempt(exchange, exchange->server, true);
    } else {
        sky_health_failed(exchange->server, back->failure);
        if (!try_elsewhere(exchange))
            sky_exchange_fail(exchange, failure_of(exchange));
    }
}

static void write_request(struct sky_exchange *exchange, struct sky_upstream_conn *conn)
{
    static const struct sky_back_events whole = {on_sent,     on_informed, on_answered,
                                                 on_progress, on_switched, NULL};
    static const struct sky_back_events in_parts = {on_sent,     on_informed, on_answered,
                                                    on_progress, on_switched, on_wrote};
    const struct sky_upstream_config *upstream = exchange->upstream->config;
    h2o_req_t *req = exchange->req;
    struct sky_forward forward = {
        .worker = exchange->worker,
        .config = exchange->tenure->config,
        .req = req,
        .route = exchange->route,
        .trace = exchange->trace,
        .trace_lines = exchange->trace_lines,
        .server = exchange->server->address,
        .body = sky_exchange_body(exchange),
        .close = conn->once && upstream->protocol == SKY_UPSTREAM_HTTP,
        .upgrade = sky_front_upgrade(req),
    };
    char stack[SKY_REQUEST_HEAD_STACK_BYTES];
    struct sky_text head = sky_request_head(&forward, upstream, stack);

    if (head.len == 0) {
        sky_upstream_close(conn);
        sky_exchange_fail(exchange, SKY_FAILURE_HEAD_TOO_LARGE);
        return;
    }
    exchange->head_bytes = head.len;
    sky_access_stamp(exchange->worker, &exchange->times, &exchange->times.connected_us);
    sky_exchange_move(exchange, SKY_EXCHANGE_WAITING);
    exchange->reused = conn->reused;
    conn->response = sky_upstream_clock(
        exchange->upstream, exchange->route != NULL ? exchange->route->rules->response_ms : 0);
    sky_back_fini(&exchange->back); /* of the attempt before */
    sky_back_start(&exchange->back, forward.body != NULL ? &in_parts : &whole, conn, &req->pool,
                   head, req->entity, method_is(req, "HEAD"));
    sky_exchange_pump(exchange);
}

/* Nothing was sent yet, so another server is as good, whatever the method. */
static bool try_next_server(struct sky_exchange *exchange)
{
    if (!move_on(exchange))
        return false;
    sky_count(&exchange->worker->counters, SKY_COUNT_upstream_connect_moves);
    return true;
}

static void on_dialled(struct sky_dial *dial, struct sky_upstream_conn *conn,
                       enum sky_failure failure)
{
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, dial, dial);

    if (conn == NULL)
        sky_health_failed(exchange->server, failure);
    if (conn != NULL)
        write_request(exchange, conn);
    else if (!try_next_server(exchange))
        sky_exchange_fail(exchange, failure);
}

/* The connection will begin with a header that says who the client is. */
static void introduce(struct sky_exchange *exchange)
{
    const h2o_conn_t *conn = exchange->req->conn;
    struct sockaddr_storage client = {0}, local = {0};
    char *header = h2o_mem_alloc_pool(&exchange->req->pool, SKY_PROXY_OUT_BYTES);

    conn->callbacks->get_peername(exchange->req->conn, (struct sockaddr *)&client);
    conn->callbacks->get_sockname(exchange->req->conn, (struct sockaddr *)&local);
    size_t len = sky_proxy_out_write(exchange->upstream->config->proxy_protocol,
                                     (struct sockaddr *)&client, (struct sockaddr *)&local, header);
    exchange->dial.preface = sky_text(header, len);
}

static void start_attempt(struct sky_exchange *exchange, struct sky_upstream_server *server,
                          bool fresh)
{
    const h2o_req_t *req = exchange->req;
    bool repeatable =
        req->entity.len == 0 && sky_exchange_body(exchange) == NULL && is_idempotent(req);

    sky_server_hold(server);
    sky_server_release(exchange->server);
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
    sky_exchange_move(exchange, SKY_EXCHANGE_DIALLING);
    if (exchange->upstream->config->proxy_protocol != SKY_PROXY_PROTOCOL_OFF)
        introduce(exchange);
    sky_dial_start(&exchange->dial, server, on_dialled);
}

void sky_exchange_ask(struct sky_exchange *exchange, const struct sky_upstream_config *upstream)
{
    const struct sky_tenure *tenure = exchange->tenure;

    sky_exchange_prepare_upload(exchange);
    exchange->upstream = tenure->upstreams[upstream - tenure->config->upstreams];
    exchange->tries = 1;
    exchange->tried_ms = h2o_now(exchange->worker->ctx.loop);
    switch (sky_turn_take(&exchange->turn, exchange->upstream, on_turn)) {
    case SKY_TURN_HELD:
        start_attempt(exchange, exchange->turn.server, false);
        break;
    case SKY_TURN_QUEUED:
        break;
    case SKY_TURN_REFUSED:
        sky_exchange_fail(exchange, SKY_FAILURE_QUEUE_FULL);
        break;
    case SKY_TURN_NONE:
        sky_exchange_fail(exchange, SKY_FAILURE_RESOLVE);
        break;
    }
}

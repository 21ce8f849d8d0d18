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
 * A server that dies before it has answered leads from WAITING to another one: by DIALLING, or at
 * once where that one has an idle socket.
 *
 * A 101 to what the request asked for leads from WAITING to TUNNEL, the end of which disposes of
 * the request.
 *
 *   state      h2o has              under way                  ends by
 *   DIALLING   nothing              turn or dial               connection, failure
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

#include "proxy/back/forward.h"
#include "proxy/back/upstream.h"
#include "proxy/compress/compress.h"
#include "proxy/exchange/error_page.h"
#include "proxy/exchange/exchange_answer.h"
#include "proxy/exchange/exchange_inside.h"
#include "proxy/front/http1_front.h"
#include "proxy/limit/request_rate.h"
#include "proxy/route/file_send.h"
#include "proxy/route/route.h"
#include "proxy/route/route_answer.h"
#include "proxy/route/route_rules.h"
#include "reporter/log.h"

void sky_exchange_move(struct sky_exchange *exchange, enum sky_exchange_state to)
{
    static const bool allowed[][SKY_EXCHANGE_FINISHED + 1] = {
        [SKY_EXCHANGE_DIALLING] = {[SKY_EXCHANGE_DIALLING] = true,
                                   [SKY_EXCHANGE_WAITING] = true,
                                   [SKY_EXCHANGE_FINISHED] = true},
        [SKY_EXCHANGE_WAITING] = {[SKY_EXCHANGE_DIALLING] = true,
                                  [SKY_EXCHANGE_WAITING] = true,
                                  [SKY_EXCHANGE_HOLDING] = true,
                                  [SKY_EXCHANGE_TUNNEL] = true,
                                  [SKY_EXCHANGE_FINISHED] = true},
        [SKY_EXCHANGE_HOLDING] = {[SKY_EXCHANGE_RELAYING] = true, [SKY_EXCHANGE_FINISHED] = true},
        [SKY_EXCHANGE_RELAYING] = {[SKY_EXCHANGE_FINISHED] = true},
        [SKY_EXCHANGE_TUNNEL] = {false},
        [SKY_EXCHANGE_FINISHED] = {false},
    };

    assert(allowed[exchange->state][to]);
    exchange->state = to;
}

/* --- failures --- */

/* Without the query: it may hold what nobody should store. */
static void log_failure(const struct sky_exchange *exchange)
{
    static struct sky_log_limit limit;
    const h2o_req_t *req = exchange->req;
    const char *defect = exchange->back.defect;
    size_t path_len = req->query_at != SIZE_MAX ? req->query_at : req->path.len;

    sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s (%s): %.*s %.*s: %s%s%s",
                    exchange->upstream->config->name, exchange->server->member->label,
                    (int)req->method.len, req->method.base, (int)path_len, req->path.base,
                    sky_failure_info(exchange->failure)->text, defect != NULL ? ": " : "",
                    defect != NULL ? defect : "");
}

const struct sky_error_page *sky_exchange_page(const struct sky_exchange *exchange, int status)
{
    const struct sky_route_config *route = exchange->route;
    const struct sky_error_page *page =
        route != NULL ? sky_error_pages_find(route->rules->error_pages, status) : NULL;

    return page != NULL ? page : sky_error_pages_find(exchange->tenure->config->pages, status);
}

/* Nothing of an answer has been handed to h2o yet. */
static void finish_with_page(struct sky_exchange *exchange, enum sky_failure failure)
{
    sky_exchange_move(exchange, SKY_EXCHANGE_FINISHED);
    exchange->failure = failure;
    sky_turn_end(&exchange->turn); /* now: the client may take its time, the turn's event not */
    sky_error_page_send(exchange->req, failure, exchange->retry_after_s,
                        sky_exchange_page(exchange, sky_failure_info(failure)->status));
}

void sky_exchange_note_failure(struct sky_exchange *exchange, enum sky_failure failure)
{
    exchange->failure = failure;
    sky_count(&exchange->worker->counters, sky_failure_info(failure)->counter);
    if (exchange->server != NULL)
        log_failure(exchange);
}

void sky_exchange_fail(struct sky_exchange *exchange, enum sky_failure failure)
{
    sky_exchange_note_failure(exchange, failure);
    finish_with_page(exchange, failure);
}

/* --- life --- */

/* Whether the client left before the last byte was out; the front tells by the time of that byte.
 */
static bool client_gone(const struct sky_exchange *exchange)
{
    const h2o_req_t *req = exchange->req;

    if (exchange->state != SKY_EXCHANGE_FINISHED)
        return true;
    return !exchange->cut && req->timestamps.response_end_at.tv_sec == 0;
}

static struct sky_trace_outcome conclude(struct sky_exchange *exchange)
{
    if (exchange->state == SKY_EXCHANGE_TUNNEL)
        return sky_exchange_tunnel_outcome(exchange->tunnel);
    bool gone = client_gone(exchange);

    if (gone && exchange->worker->cutting) {
        gone = false;
        exchange->cut = true;
        sky_exchange_note_failure(exchange, SKY_FAILURE_STOPPED);
    }
    return (struct sky_trace_outcome){
        .status = exchange->state >= SKY_EXCHANGE_RELAYING ? exchange->req->res.status : 0,
        .body_bytes = exchange->req->bytes_sent,
        .client_gone = gone,
        .cut = exchange->cut,
        .failure = exchange->failure != SKY_FAILURE_NONE ? sky_failure_info(exchange->failure)->text
                                                         : NULL,
    };
}

static void end(struct sky_exchange *exchange)
{
    const struct sky_trace_outcome outcome = conclude(exchange);
    const char *server = exchange->server != NULL ? exchange->server->member->label : NULL;

    sky_access_request(exchange->worker, exchange->req, &exchange->times, server, exchange->trace,
                       &outcome);
    if (exchange->trace != NULL)
        sky_trace_end(exchange->trace, &outcome);
}

static void on_dispose(void *arg)
{
    struct sky_exchange *exchange = arg;

    h2o_timeout_unlink(&exchange->head_timer);
    sky_dial_cancel(&exchange->dial);
    sky_back_fini(&exchange->back);
    if (exchange->tunnel != NULL)
        sky_exchange_close_tunnel(exchange);
    sky_turn_end(&exchange->turn);
    end(exchange);
    sky_server_release(exchange->server);
    sky_tenure_release(exchange->tenure);
}

static struct sky_trace *begin_trace(const struct sky_exchange *exchange)
{
    const struct sky_route_rules *rules = exchange->route != NULL ? exchange->route->rules : NULL;
    if (rules != NULL && rules->traced == SKY_SWITCH_OFF) {
        sky_count(&exchange->worker->counters, SKY_COUNT_untraced_route);
        return NULL;
    }
    return sky_trace_begin(exchange->worker, exchange->req, rules != NULL ? rules->sampling : NULL);
}

static struct sky_exchange *create(h2o_req_t *req, const struct sky_route_config *route)
{
    struct sky_exchange *exchange = h2o_mem_alloc_shared(&req->pool, sizeof(*exchange), on_dispose);

    memset(exchange, 0, sizeof(*exchange));
    exchange->worker = sky_worker_of(req);
    exchange->tenure = sky_tenure_hold(exchange->worker->tenure);
    exchange->req = req;
    sky_exchange_prepare_relay(exchange);
    exchange->route = route != NULL && route->rules != NULL ? route : NULL;
    exchange->trace = begin_trace(exchange);
    return exchange;
}

/* False when there is no such file, and the app is to be asked. */
static bool serve_file(struct sky_exchange *exchange)
{
    const struct sky_route_config *route = exchange->route;
    const struct sky_tenure *tenure = exchange->tenure;
    struct sky_folder *folder = &tenure->folders[route - tenure->config->routes];
    struct sky_file file;
    enum sky_failure failure = sky_file_look(route, folder, exchange->req, &file);

    if (failure == SKY_FAILURE_NONE) {
        sky_count(&exchange->worker->counters, SKY_COUNT_static_answers);
        sky_exchange_move(exchange, SKY_EXCHANGE_FINISHED);
        sky_file_answer(route, exchange->req, &file, &exchange->cut);
    } else if (route->upstream != NULL && failure != SKY_FAILURE_FILE_BROKEN) {
        return false;
    } else {
        sky_exchange_fail(exchange, failure);
    }
    return true;
}

static void answer(struct sky_exchange *exchange, const struct sky_route_config *route)
{
    const struct sky_route_rules *rules = route->rules;

    if (rules != NULL && rules->compress != NULL)
        sky_compress_prepare(exchange->req, rules->compress, &exchange->worker->counters);
    if (rules != NULL && rules->answer.status != 0 && !sky_route_answers(route, exchange->req)) {
        sky_exchange_fail(exchange, SKY_FAILURE_NO_HOST);
    } else if (rules != NULL && rules->answer.status != 0) {
        sky_exchange_move(exchange, SKY_EXCHANGE_FINISHED);
        sky_route_answer(route, exchange->req);
    } else if (rules == NULL || rules->files.folder == NULL || !serve_file(exchange)) {
        sky_exchange_ask(exchange, route->upstream);
    }
}

static bool is_over_rate(struct sky_exchange *exchange, const struct sky_route_config *route)
{
    if (exchange->worker->rate_limit == NULL)
        return false;
    /* with a body, before that was read */
    const struct sky_body_policy *policy = sky_front_body_policy(exchange->req);
    exchange->retry_after_s = policy != NULL
                                  ? policy->retry_after_s
                                  : sky_request_rate_check(exchange->worker, exchange->req, route);
    return exchange->retry_after_s != 0;
}

static int on_req(h2o_handler_t *handler, h2o_req_t *req)
{
    const struct sky_route_config *route;
    enum sky_failure unrouted = sky_route_choose(sky_worker_of(req)->config, req, &route);
    struct sky_exchange *exchange = create(req, route);
    enum sky_refusal refused = sky_front_refusal(req);

    (void)handler;
    if (refused != SKY_REFUSAL_none) {
        finish_with_page(exchange, sky_failure_of_body(refused));
    } else if (sky_forward_check(req) != NULL) {
        sky_exchange_fail(exchange, SKY_FAILURE_BAD_REQUEST);
    } else if (unrouted != SKY_FAILURE_NONE) {
        sky_exchange_fail(exchange, unrouted);
    } else if (is_over_rate(exchange, route)) {
        sky_exchange_fail(exchange, SKY_FAILURE_RATE_LIMITED);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The app's answer on its way to h2o.
 *
 * Happy path: head -> held until the body's first bytes -> each part when h2o is ready for it ->
 * the end.
 * Failures: before h2o has the head: the error page. After it: the answer is cut. The client goes:
 * the app's socket is given up. */
#include "proxy/back/health.h"
#include "proxy/back/upstream.h"
#include "proxy/exchange/error_page.h"
#include "proxy/exchange/exchange_answer.h"
#include "proxy/exchange/exchange_inside.h"
#include "proxy/route/route_rules.h"

void sky_exchange_take_answer(struct sky_exchange *exchange, const struct sky_answer *answer)
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

static void send_part(struct sky_exchange *exchange, const struct sky_back_part *part,
                      h2o_send_state_t state)
{
    h2o_iovec_t pieces[SKY_BACK_MAX_PIECES]; /* h2o changes them */

    memcpy(pieces, part->pieces, part->count * sizeof(pieces[0]));
    if (exchange->state == SKY_EXCHANGE_HOLDING) {
        sky_exchange_move(exchange, SKY_EXCHANGE_RELAYING);
        h2o_timeout_unlink(&exchange->head_timer);
        h2o_start_response(exchange->req, &exchange->super);
    }
    exchange->sending = true;
    exchange->cut = state == H2O_SEND_STATE_ERROR;
    if (state != H2O_SEND_STATE_IN_PROGRESS)
        sky_exchange_move(exchange, SKY_EXCHANGE_FINISHED);
    h2o_send(exchange->req, pieces, part->count, state);
}

/* The user's own page in place of the app's, whose body is not wanted then. */
static bool intercept(struct sky_exchange *exchange)
{
    const struct sky_route_config *route = exchange->route;
    h2o_req_t *req = exchange->req;

    if (exchange->state != SKY_EXCHANGE_HOLDING || req->res.status < 400 || route == NULL ||
        route->rules->intercept_errors != SKY_SWITCH_ON)
        return false;
    const struct sky_error_page *page = sky_exchange_page(exchange, req->res.status);
    if (page == NULL)
        return false;
    h2o_timeout_unlink(&exchange->head_timer);
    sky_back_cancel(&exchange->back);
    sky_exchange_move(exchange, SKY_EXCHANGE_FINISHED);
    sky_error_page_replace(req, page);
    return true;
}

void sky_exchange_relay(struct sky_exchange *exchange)
{
    if (exchange->sending || intercept(exchange))
        return;
    const struct sky_back_part *part = sky_back_take(&exchange->back);
    if (exchange->back.state == SKY_BACK_WHOLE) {
        send_part(exchange, part, H2O_SEND_STATE_FINAL);
    } else if (exchange->back.state == SKY_BACK_FAILED && exchange->state == SKY_EXCHANGE_HOLDING) {
        h2o_timeout_unlink(&exchange->head_timer);
        sky_exchange_fail(exchange, exchange->back.failure); /* just in time for a page */
    } else if (exchange->back.state == SKY_BACK_FAILED) {
        sky_exchange_note_failure(exchange, exchange->back.failure);
        send_part(exchange, part, H2O_SEND_STATE_ERROR);
    } else if (part->count != 0) {
        send_part(exchange, part, H2O_SEND_STATE_IN_PROGRESS);
    } else if (exchange->state == SKY_EXCHANGE_HOLDING &&
               !h2o_timeout_is_linked(&exchange->head_timer)) {
        h2o_timeout_link(exchange->worker->ctx.loop, &exchange->upstream->head_hold,
                         &exchange->head_timer);
    }
}

static void on_head_timer(h2o_timeout_entry_t *entry)
{
    static const struct sky_back_part nothing;
    struct sky_exchange *exchange = H2O_STRUCT_FROM_MEMBER(struct sky_exchange, head_timer, entry);

    send_part(exchange, &nothing, H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct sky_exchange *exchange = (struct sky_exchange *)generator;

    (void)req;
    exchange->sending = false;
    sky_exchange_relay(exchange);
}

/* The client has gone. Dispose follows, but maybe not at once. */
static void on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
    struct sky_exchange *exchange = (struct sky_exchange *)generator;

    (void)req;
    sky_back_cancel(&exchange->back);
}

void sky_exchange_prepare_relay(struct sky_exchange *exchange)
{
    exchange->super = (h2o_generator_t){on_proceed, on_stop};
    exchange->head_timer.cb = on_head_timer;
}

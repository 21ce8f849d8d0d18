/* SPDX-License-Identifier: Apache-2.0 */
/* Turns, and the queue of those that wait for one.
 *
 * Happy path: take -> a server with a place -> end. Without max_connections nothing else happens
 * and nothing is shared.
 * All places taken: the request waits in its worker's queue -> a request ends, in any worker -> the
 * next worker that has requests waiting is woken and serves its queue.
 * Otherwise:
 *   queue.max wait, in all workers    REFUSED
 *   queue.timeout has passed          done(QUEUE_TIMEOUT)
 *   a wake finds nobody waiting       it goes on to the next worker
 *   no server, as its name is new     queued until the name service has answered: a server, or
 *                                     done(RESOLVE)
 *   a place comes without an end, as when a server is no longer passed over
 *                                     queues are looked at each 100 ms
 *
 * Who comes while others wait queues behind them, and only queues take places then; so a worker
 * that gets more requests than another does not take all places. */
#include "proxy/back/turn.h"

#include <assert.h>

#include "proxy/back/balance.h"

static void hold(struct sky_turn *turn, struct sky_upstream_server *server)
{
    _Atomic uint32_t *active = &server->share->active;

    turn->server = sky_server_hold(server);
    turn->tried |= server->bit;
    /* one writer: cheaper than an atomic addition */
    atomic_store_explicit(active, atomic_load_explicit(active, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Not on the stack of who has just ended: that may be a request that is disposed of. */
static void serve_soon(struct sky_upstream *upstream)
{
    h2o_timeout_unlink(&upstream->look_again);
    h2o_timeout_link(upstream->ctx->loop, &upstream->ctx->zero_timeout, &upstream->look_again);
}

static void release(struct sky_upstream_server *server)
{
    struct sky_upstream *upstream = server->upstream;
    _Atomic uint32_t *active = &server->share->active;

    atomic_store_explicit(active, atomic_load_explicit(active, memory_order_relaxed) - 1,
                          memory_order_relaxed);
    sky_server_release(server);
    if (!upstream->roster->limited)
        return;
    sky_member_leave(server->member);
    /* waiting is raised before the last look for a place: one of both sides sees the other */
    if (upstream->roster->waiting != 0 && sky_roster_wake(upstream->roster, upstream->worker))
        serve_soon(upstream);
}

/* --- queue --- */

static void leave_queue(struct sky_turn *turn)
{
    struct sky_upstream *upstream = turn->upstream;

    h2o_timeout_unlink(&turn->deadline);
    h2o_linklist_unlink(&turn->waiting);
    upstream->roster->workers[upstream->worker].waiting--;
    upstream->roster->waiting--;
    if (h2o_linklist_is_empty(&upstream->waiting))
        h2o_timeout_unlink(&upstream->look_again);
}

/* The first of the queue that finds a server; NULL: none does. Those behind it may have tried
 * others. */
static struct sky_turn *find_ready(struct sky_upstream *upstream)
{
    bool full = true;

    for (h2o_linklist_t *at = upstream->waiting.next; at != &upstream->waiting; at = at->next) {
        struct sky_turn *turn = H2O_STRUCT_FROM_MEMBER(struct sky_turn, waiting, at);
        struct sky_upstream_server *server = sky_balance_choose(upstream, turn->tried, &full);
        if (server != NULL) {
            leave_queue(turn);
            hold(turn, server);
            return turn;
        }
        if (turn->tried == 0)
            break; /* it would have taken any */
    }
    return NULL;
}

/* There is no server, and there may be some as soon as the name service has answered, or we have
 * looked at what it has: the list is changed before the answer counts. */
static bool awaits_names(const struct sky_upstream *upstream)
{
    const struct sky_roster *roster = upstream->roster;

    return upstream->server_count == 0 &&
           (roster->unanswered != 0 || roster->version != upstream->version);
}

static void serve_queue(struct sky_upstream *upstream)
{
    struct sky_turn *turn;

    while ((turn = find_ready(upstream)) != NULL)
        turn->done(turn, SKY_FAILURE_NONE);
    while (upstream->server_count == 0 && !awaits_names(upstream) &&
           !h2o_linklist_is_empty(&upstream->waiting)) {
        turn = H2O_STRUCT_FROM_MEMBER(struct sky_turn, waiting, upstream->waiting.next);
        leave_queue(turn);
        turn->done(turn, SKY_FAILURE_RESOLVE);
    }
}

static void on_patience_over(h2o_timeout_entry_t *entry)
{
    struct sky_turn *turn = H2O_STRUCT_FROM_MEMBER(struct sky_turn, deadline, entry);
    struct sky_upstream *upstream = turn->upstream;

    leave_queue(turn);
    turn->done(turn, awaits_names(upstream) ? SKY_FAILURE_RESOLVE : SKY_FAILURE_QUEUE_TIMEOUT);
}

static void on_look_again(h2o_timeout_entry_t *entry)
{
    struct sky_upstream *upstream = H2O_STRUCT_FROM_MEMBER(struct sky_upstream, look_again, entry);

    h2o_timeout_link(upstream->ctx->loop, &upstream->ctx->hundred_ms_timeout, entry);
    serve_queue(upstream);
}

static void on_wake(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct sky_upstream *upstream = H2O_STRUCT_FROM_MEMBER(struct sky_upstream, wakes, receiver);
    struct sky_roster *roster = upstream->roster;

    while (!h2o_linklist_is_empty(messages))
        h2o_linklist_unlink(messages->next);
    roster->workers[upstream->worker].woken = false;
    if (!h2o_linklist_is_empty(&upstream->waiting))
        serve_queue(upstream);
    else
        sky_roster_wake(roster, upstream->worker);
}

/* Raises the number of those that wait, unless `max` do. *first: nobody did before. */
static bool enter_queue(struct sky_roster *roster, uint32_t max, bool *first)
{
    uint32_t waiting = roster->waiting;

    do
        if (waiting >= max)
            return false;
    while (!atomic_compare_exchange_weak(&roster->waiting, &waiting, waiting + 1));
    *first = waiting == 0;
    return true;
}

static bool wait_for_place(struct sky_turn *turn, struct sky_upstream *upstream,
                           sky_turn_done_fn *done, bool *first)
{
    /* no queue of that number is meant for the moment until a name is known */
    uint32_t max = awaits_names(upstream) ? UINT32_MAX : upstream->config->queue.max;

    if (!enter_queue(upstream->roster, max, first))
        return false;
    upstream->roster->workers[upstream->worker].waiting++;
    sky_count(upstream->counters, SKY_COUNT_upstream_queued);
    turn->upstream = upstream;
    turn->done = done;
    turn->deadline = (h2o_timeout_entry_t){.cb = on_patience_over};
    h2o_linklist_insert(&upstream->waiting, &turn->waiting);
    h2o_timeout_link(upstream->ctx->loop, &upstream->patience, &turn->deadline);
    if (!h2o_timeout_is_linked(&upstream->look_again))
        h2o_timeout_link(upstream->ctx->loop, &upstream->ctx->hundred_ms_timeout,
                         &upstream->look_again);
    return true;
}

/* --- turns --- */

/* The server held before, if any, is given up once another one is found or waited for. */
static enum sky_turn_result find(struct sky_turn *turn, struct sky_upstream *upstream,
                                 sky_turn_done_fn *done)
{
    struct sky_upstream_server *before = turn->server, *server = NULL;
    bool full = upstream->roster->limited && upstream->roster->waiting != 0 && turn->tried == 0 &&
                upstream->server_count != 0;
    bool first = false;

    if (!full)
        server = sky_balance_choose(upstream, turn->tried, &full);
    bool awaiting = server == NULL && awaits_names(upstream);
    if (server == NULL && !full && !awaiting)
        return SKY_TURN_NONE;
    if (server == NULL && !wait_for_place(turn, upstream, done, &first))
        return SKY_TURN_REFUSED;
    turn->server = NULL;
    if (before != NULL)
        release(before);
    if (server != NULL) {
        hold(turn, server);
        return SKY_TURN_HELD;
    }
    /* a place may have come between the look and the queue; later ones wake who waits */
    if ((first || awaiting) &&
        (server = sky_balance_choose(upstream, turn->tried, &full)) != NULL) {
        leave_queue(turn);
        hold(turn, server);
        return SKY_TURN_HELD;
    }
    return SKY_TURN_QUEUED;
}

enum sky_turn_result sky_turn_take(struct sky_turn *turn, struct sky_upstream *upstream,
                                   sky_turn_done_fn *done)
{
    return find(turn, upstream, done);
}

enum sky_turn_result sky_turn_next(struct sky_turn *turn, sky_turn_done_fn *done)
{
    return find(turn, turn->server->upstream, done);
}

void sky_turn_end(struct sky_turn *turn)
{
    struct sky_upstream_server *server = turn->server;

    if (h2o_linklist_is_linked(&turn->waiting))
        leave_queue(turn);
    turn->server = NULL;
    if (server != NULL)
        release(server);
}

void sky_turn_init_upstream(struct sky_upstream *upstream)
{
    h2o_linklist_init_anchor(&upstream->waiting);
    upstream->look_again.cb = on_look_again;
    if (!upstream->roster->limited && !upstream->roster->named)
        return;
    h2o_multithread_register_receiver(upstream->ctx->queue, &upstream->wakes, on_wake);
    sky_roster_listen(upstream->roster, upstream->worker, &upstream->wakes);
}

void sky_turn_fini_upstream(struct sky_upstream *upstream)
{
    struct sky_roster *roster = upstream->roster;

    assert(h2o_linklist_is_empty(&upstream->waiting));
    if (!roster->limited && !roster->named)
        return;
    sky_roster_listen(roster, upstream->worker, NULL);
    while (roster->workers[upstream->worker].woken) /* sent before that */
        h2o_evloop_run(upstream->ctx->loop, 10);
    h2o_multithread_unregister_receiver(upstream->ctx->queue, &upstream->wakes);
}

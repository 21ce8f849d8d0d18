/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "proxy/back/http1_back.h"
#include "proxy/back/recycle.h"
#include "proxy/front/http1_front.h"
#include "proxy/limit/request_rate.h"
#include "proxy/route/route.h"
#include "proxy/stitch/stitch.h"
#include "proxy/trace/trace_own.h"
#include "reporter/log.h"

struct order {
    h2o_multithread_message_t super; /* first: what receivers get */
    enum { CHANGE, DRAIN, STOP, BEAT } what;
    struct sky_worker_plan *plan; /* of CHANGE */
    bool *handed_over;            /* of STOP, heap: one per config->listeners; NULL: none is */
};

/* ---- a change of what is served ---- */

/* The door of a listener that goes on is the same object, since its connections have it. */
static void open_doors(struct sky_worker *worker, struct sky_worker_plan *plan,
                       const struct sky_tenure *former)
{
    size_t count = plan->config->listener_count;
    struct sky_door **doors = h2o_mem_alloc(count * sizeof(*doors)), **before = worker->doors;

    for (size_t i = 0; i < count; ++i) {
        const struct sky_listener_config *config = &plan->config->listeners[i];
        struct sky_worker_listen *listen = &plan->listeners[i];
        if (listen->same != SKY_GENERATION_NEW) {
            doors[i] = before[listen->same];
            before[listen->same] = NULL;
            sky_door_change(doors[i], config, listen->tls);
        } else {
            doors[i] = sky_door_new(config, listen->tls);
        }
        for (; listen->fd_count != 0; --listen->fd_count)
            sky_acceptor_add(&worker->acceptor, listen->fds[listen->fd_count - 1], doors[i],
                             listen->shared);
    }
    worker->doors = doors;
    for (size_t i = 0; former != NULL && i < former->config->listener_count; ++i) {
        if (before[i] == NULL)
            continue;
        sky_acceptor_retire(&worker->acceptor, before[i]);
        sky_door_retire(before[i], former->generation);
        sky_door_release(before[i]);
    }
    free(before);
}

static void change(struct sky_worker *worker, struct sky_worker_plan *plan)
{
    struct sky_tenure *former = worker->tenure;

    worker->tenure = sky_tenure_new(worker, sky_generation_hold(plan->generation), former);
    worker->rate_limit = plan->rate_limit;
    worker->config = plan->config;
    worker->access_pen = plan->access_pen;
    sky_front_log_to(worker->front, worker->access_pen);
    open_doors(worker, plan, former);
    if (former != NULL) {
        sky_front_change(worker->front, plan->config);
        sky_tunnels_change(&worker->tunnels, plan->config->timeouts.tunnel_idle_ms);
        sky_tenure_release(former);
    }
    sky_worker_plan_destroy(plan);
}

/* ---- the end ---- */

static void on_stop_poll(h2o_timeout_entry_t *entry)
{
    struct sky_worker *worker = H2O_STRUCT_FROM_MEMBER(struct sky_worker, stop_poll, entry);
    bool in_time = h2o_now(worker->ctx.loop) < worker->stop_at_ms;
    if (!sky_acceptor_is_closed(&worker->acceptor) ||
        (sky_front_connection_count(worker->front) != 0 && in_time)) {
        h2o_timeout_link(worker->ctx.loop, &worker->ctx.hundred_ms_timeout, entry);
        return;
    }
    if (sky_front_connection_count(worker->front) != 0) {
        sky_log(SKY_LOG_WARN, "stop: %zu connections cut after timeouts.stop",
                sky_front_connection_count(worker->front));
        worker->cutting = true;
        sky_front_close_all(worker->front);
    }
    worker->stopped = true;
}

static void drain(struct sky_worker *worker)
{
    h2o_context_request_shutdown(&worker->ctx);
    sky_front_drain(worker->front);
}

static void stop(struct sky_worker *worker, const bool *handed_over)
{
    if (worker->stop_at_ms != 0)
        return;
    worker->stop_at_ms = h2o_now(worker->ctx.loop) + worker->config->timeouts.stop_ms;
    for (size_t i = 0; handed_over != NULL && i < worker->config->listener_count; ++i)
        if (handed_over[i])
            sky_acceptor_abandon(&worker->acceptor, worker->doors[i]);
    sky_acceptor_retire_all(&worker->acceptor);
    drain(worker);
    h2o_timeout_link(worker->ctx.loop, &worker->ctx.hundred_ms_timeout, &worker->stop_poll);
}

static void carry_out(struct sky_worker *worker, struct order *order)
{
    switch (order->what) {
    case CHANGE:
        change(worker, order->plan);
        worker->changed = &order->super; /* becomes the reply */
        return;
    case DRAIN:
        sky_acceptor_retire_all(&worker->acceptor);
        drain(worker);
        break;
    case STOP:
        stop(worker, order->handed_over);
        free(order->handed_over);
        break;
    case BEAT:
        worker->beat = true;
        break;
    }
    free(order);
}

static void on_orders(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct sky_worker *worker = H2O_STRUCT_FROM_MEMBER(struct sky_worker, orders, receiver);
    while (!h2o_linklist_is_empty(messages)) {
        h2o_multithread_message_t *message =
            H2O_STRUCT_FROM_MEMBER(h2o_multithread_message_t, link, messages->next);
        h2o_linklist_unlink(&message->link);
        carry_out(worker, (struct order *)message);
    }
}

/* ---- the thread ---- */

/* What the new thread builds its worker from; on the stack of sky_worker_new, until it is built. */
struct start {
    struct sky_worker *worker;
    struct sky_worker_plan *plan;
    struct sky_site *site;
};

static struct sky_body_policy body_policy(h2o_req_t *req)
{
    const struct sky_worker *worker = sky_worker_of(req);
    const struct sky_config *config = worker->config;
    const struct sky_route_config *route =
        config->route_bodies || worker->rate_limit != NULL ? sky_route_of_head(config, req) : NULL;
    struct sky_body_policy policy = sky_route_body_policy(config, route);
    if (worker->rate_limit != NULL && route != NULL)
        policy.retry_after_s = sky_request_rate_check(sky_worker_of(req), req, route);
    return policy;
}

static void build(const struct start *start)
{
    struct sky_worker *worker = start->worker;
    const struct sky_config *config = start->plan->config;
    h2o_context_init(&worker->ctx, h2o_evloop_create(), &start->site->globalconf);
    h2o_multithread_register_receiver(worker->ctx.queue, &worker->orders, on_orders);
    worker->stop_poll.cb = on_stop_poll;
    worker->front =
        sky_front_new(&worker->ctx, start->site->globalconf.hosts, config, &worker->counters);
    sky_acceptor_init(&worker->acceptor, worker);
    sky_tunnels_init(&worker->tunnels, worker->ctx.loop, config->timeouts.tunnel_idle_ms,
                     &worker->counters);
    sky_front_limit_bodies(worker->front, body_policy, &worker->bodies);
    if (config->agent.mode == SKY_MODE_STITCH)
        worker->stitch = sky_stitch_new(&worker->ctx, config, worker->index, &worker->counters);
    if (worker->stitch != NULL)
        sky_stitch_on_own(worker->stitch, sky_trace_own, worker);
    if (worker->stitch != NULL && worker->processes != NULL)
        sky_stitch_ask_processes(worker->stitch, worker->processes);
    change(worker, start->plan);
}

static void reply(struct sky_worker *worker)
{
    h2o_multithread_send_message(worker->replies, worker->changed);
    worker->changed = NULL; /* who gets it frees it */
}

static void serve(struct sky_worker *worker)
{
    sky_acceptor_start(&worker->acceptor);
    while (!worker->stopped) {
        h2o_evloop_run(worker->ctx.loop, INT32_MAX); /* -1 is EINTR: go on */
        if (worker->ended_tenures != NULL)
            sky_tenure_bury(&worker->ended_tenures);
        if (worker->changed != NULL && !sky_acceptor_is_closing(&worker->acceptor))
            reply(worker);
    }
    if (worker->changed != NULL) /* a stop closes all the same */
        reply(worker);
    if (worker->stitch != NULL)
        sky_stitch_flush(worker->stitch);
}

static void close_doors(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->config->listener_count; ++i)
        sky_door_release(worker->doors[i]);
    free(worker->doors);
}

static void tear_down(struct sky_worker *worker)
{
    sky_acceptor_fini(&worker->acceptor);
    sky_front_destroy(worker->front);
    close_doors(worker);
    sky_body_share_fini(&worker->bodies);
    sky_tunnels_fini(&worker->tunnels);
    if (worker->stitch != NULL)
        sky_stitch_destroy(worker->stitch);
    sky_tenure_release(worker->tenure);
    sky_tenure_bury(&worker->ended_tenures);
    h2o_multithread_unregister_receiver(worker->ctx.queue, &worker->orders);
    /* h2o's shutdown leaves its second GOAWAY on a timer, and asserts here that none is left */
    h2o_timeout_unlink(&worker->ctx.http2._graceful_shutdown_timeout);
    h2o_loop_t *loop = worker->ctx.loop;
    h2o_context_dispose(&worker->ctx);
    h2o_evloop_destroy(loop);
    sky_back_free_recycled();
    sky_recycle_free_thread();
}

static void wait_for(sem_t *turn)
{
    while (sem_wait(turn) != 0) /* EINTR */
        ;
}

/* A socket's buffer comes from lists of the thread that made the socket, also when another thread
 * reads into it: so all of the worker is made, used and freed here. */
static void *run(void *arg)
{
    const struct start *start = arg;
    struct sky_worker *worker = start->worker;
    char name[16];
    snprintf(name, sizeof(name), "sky-worker-%zu", worker->index);
    pthread_setname_np(pthread_self(), name);
    build(start);
    sem_post(&worker->reached); /* `start` is gone now */
    wait_for(&worker->allowed);
    if (worker->started) {
        serve(worker);
        sem_post(&worker->reached);
        wait_for(&worker->allowed);
    }
    tear_down(worker);
    return NULL;
}

struct sky_worker_plan *sky_worker_plan_new(struct sky_generation *generation)
{
    size_t count = generation->config->listener_count;
    struct sky_worker_plan *plan =
        h2o_mem_alloc(sizeof(*plan) + count * sizeof(plan->listeners[0]));

    memset(plan, 0, sizeof(*plan) + count * sizeof(plan->listeners[0]));
    plan->generation = sky_generation_hold(generation);
    plan->config = generation->config;
    for (size_t i = 0; i < count; ++i)
        plan->listeners[i].same = SKY_GENERATION_NEW;
    return plan;
}

void sky_worker_plan_destroy(struct sky_worker_plan *plan)
{
    if (plan == NULL)
        return;
    for (size_t i = 0; i < plan->config->listener_count; ++i) {
        struct sky_worker_listen *listen = &plan->listeners[i];
        for (size_t k = 0; k < listen->fd_count; ++k)
            close(listen->fds[k]);
        free(listen->fds);
        SSL_CTX_free(listen->tls);
    }
    sky_generation_release(plan->generation);
    free(plan);
}

struct sky_worker *sky_worker_new(size_t index, struct sky_worker_plan *plan,
                                  const struct sky_worker_shared *shared)
{
    uint8_t entropy[32];
    if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy)) {
        sky_log(SKY_LOG_ERROR, "getrandom: no entropy for trace ids");
        sky_worker_plan_destroy(plan);
        return NULL;
    }
    struct sky_worker *worker = h2o_mem_alloc(sizeof(*worker));
    *worker = (struct sky_worker){.index = index,
                                  .reporter = shared->reporter,
                                  .ring = sky_reporter_ring(shared->reporter, index),
                                  .sampling = shared->sampling,
                                  .processes = shared->processes,
                                  .beat = true,
                                  .replies = shared->replies};
    sky_ids_init(&worker->ids, entropy);
    worker->connection_limit = shared->connection_limit;
    sky_body_share_init(&worker->bodies, shared->body_budget);
    sem_init(&worker->reached, 0, 0);
    sem_init(&worker->allowed, 0, 0);
    struct start start = {worker, plan, shared->site};
    int rc = pthread_create(&worker->thread, NULL, run, &start);
    if (rc != 0) {
        sky_log(SKY_LOG_ERROR, "cannot start a thread: %s", strerror(rc));
        sky_worker_plan_destroy(plan);
        free(worker);
        return NULL;
    }
    wait_for(&worker->reached);
    return worker;
}

void sky_worker_start(struct sky_worker *worker)
{
    worker->started = true;
    sem_post(&worker->allowed);
}

static void send_order(struct sky_worker *worker, struct order order)
{
    struct order *sent = h2o_mem_alloc(sizeof(*sent));
    *sent = order;
    h2o_multithread_send_message(&worker->orders, &sent->super);
}

void sky_worker_change(struct sky_worker *worker, struct sky_worker_plan *plan)
{
    send_order(worker, (struct order){.what = CHANGE, .plan = plan});
}

void sky_worker_drain(struct sky_worker *worker)
{
    send_order(worker, (struct order){.what = DRAIN});
}

void sky_worker_ask(struct sky_worker *worker)
{
    worker->beat = false;
    send_order(worker, (struct order){.what = BEAT});
}

void sky_worker_stop(struct sky_worker *worker, const bool *handed_over, size_t listener_count)
{
    struct order order = {.what = STOP};
    if (handed_over != NULL) {
        order.handed_over = h2o_mem_alloc(listener_count * sizeof(*handed_over));
        memcpy(order.handed_over, handed_over, listener_count * sizeof(*handed_over));
    }
    send_order(worker, order);
}

void sky_worker_join(struct sky_worker *worker)
{
    wait_for(&worker->reached);
}

void sky_worker_destroy(struct sky_worker *worker)
{
    sem_post(&worker->allowed);
    pthread_join(worker->thread, NULL);
    sem_destroy(&worker->reached);
    sem_destroy(&worker->allowed);
    free(worker);
}

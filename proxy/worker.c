/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proxy/access/access_log.h"
#include "proxy/back/http1_back.h"
#include "proxy/back/recycle.h"
#include "proxy/back/upstream.h"
#include "proxy/front/http1_front.h"
#include "proxy/front/tls.h"
#include "proxy/limit/admission.h"
#include "proxy/route/route.h"
#include "proxy/stitch/stitch.h"
#include "reporter/log.h"

/* Connections taken in one turn: the rest waits in the backlog while others are served. */
#define ACCEPTS_PER_TURN 16

/* A connection waits that cannot be taken: the loop would report it again and again. */
static void pause_accepting(struct sky_worker *worker)
{
    static struct sky_log_limit limit;
    sky_count(&worker->counters, SKY_COUNT_accepts_failed);
    sky_log_limited(&limit, SKY_LOG_ERROR, "cannot accept a connection: %s%s", strerror(errno),
                    errno == EMFILE ? "; raise the limit (ulimit -n, LimitNOFILE=)" : "");
    for (size_t i = 0; i < worker->listener_count; ++i)
        h2o_socket_read_stop(worker->listeners[i].sock);
    if (!h2o_timeout_is_linked(&worker->accept_pause))
        h2o_timeout_link(worker->ctx.loop, &worker->ctx.hundred_ms_timeout, &worker->accept_pause);
}

static bool accept_one(const struct sky_worker_listener *listener)
{
    struct sky_worker *worker = listener->worker;
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener->sock);
    if (sock == NULL) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(worker);
        return false;
    }
    sky_count(&worker->counters, SKY_COUNT_connections);
    if (sky_admit(worker, sock, listener->config))
        sky_front_accept_at(worker->front, sock, listener->config, listener->tls);
    return true;
}

static void on_accept(h2o_socket_t *sock, const char *err)
{
    if (err != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; ++i)
        if (!accept_one(sock->data))
            break;
}

static void start_accepting(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        h2o_socket_read_start(worker->listeners[i].sock, on_accept);
}

static void on_accept_pause_over(h2o_timeout_entry_t *entry)
{
    start_accepting(H2O_STRUCT_FROM_MEMBER(struct sky_worker, accept_pause, entry));
}

static void fence_listeners(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        sky_listener_fence(h2o_socket_get_fd(worker->listeners[i].sock));
}

static void close_listeners(struct sky_worker *worker)
{
    for (; worker->listener_count != 0; --worker->listener_count) {
        const struct sky_worker_listener *last = &worker->listeners[worker->listener_count - 1];
        /* what the kernel has queued here would be reset by the close */
        while (accept_one(last))
            ;
        h2o_socket_close(last->sock);
    }
    h2o_timeout_unlink(&worker->accept_pause);
}

static void on_stop_poll(h2o_timeout_entry_t *entry)
{
    struct sky_worker *worker = H2O_STRUCT_FROM_MEMBER(struct sky_worker, stop_poll, entry);
    close_listeners(worker);
    if (sky_front_connection_count(worker->front) != 0) {
        if (h2o_now(worker->ctx.loop) < worker->stop_at_ms) {
            h2o_timeout_link(worker->ctx.loop, &worker->ctx.hundred_ms_timeout, entry);
            return;
        }
        sky_log(SKY_LOG_WARN, "stop: %zu connections cut after timeouts.stop",
                sky_front_connection_count(worker->front));
        worker->cutting = true;
        sky_front_close_all(worker->front);
    }
    worker->stopped = true;
}

static void on_stop(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct sky_worker *worker = H2O_STRUCT_FROM_MEMBER(struct sky_worker, stop_receiver, receiver);
    while (!h2o_linklist_is_empty(messages)) {
        h2o_multithread_message_t *message =
            H2O_STRUCT_FROM_MEMBER(h2o_multithread_message_t, link, messages->next);
        h2o_linklist_unlink(&message->link);
        free(message);
    }
    if (worker->stop_at_ms != 0)
        return;
    worker->stop_at_ms = h2o_now(worker->ctx.loop) + worker->config->timeouts.stop_ms;
    fence_listeners(worker);
    h2o_context_request_shutdown(&worker->ctx);
    sky_front_drain(worker->front);
    h2o_timeout_link(worker->ctx.loop, &worker->ctx.hundred_ms_timeout, &worker->stop_poll);
}

static void take_listeners(struct sky_worker *worker, struct sky_listener *listeners, size_t count)
{
    size_t fds = 0;
    for (size_t i = 0; i < count; ++i)
        fds += listeners[i].fd_count / listeners[i].workers;
    worker->listeners = h2o_mem_alloc(fds * sizeof(*worker->listeners));
    for (size_t i = 0; i < count; ++i) {
        struct sky_listener *listener = &listeners[i];
        for (size_t k = worker->index; k < listener->fd_count; k += listener->workers) {
            h2o_socket_t *sock = h2o_evloop_socket_create(worker->ctx.loop, listener->fds[k],
                                                          H2O_SOCKET_FLAG_DONT_READ);
            listener->fds[k] = -1;
            struct sky_worker_listener *taken = &worker->listeners[worker->listener_count++];
            *taken = (struct sky_worker_listener){
                worker, sock, &worker->config->listeners[i],
                listener->tls != NULL ? sky_tls_context(listener->tls) : NULL};
            sock->data = taken;
        }
    }
}

/* What the new thread builds its worker from; on the stack of sky_worker_new, until it is built. */
struct plan {
    struct sky_worker *worker;
    struct sky_fleet *fleet;
    struct sky_site *site;
    struct sky_listener *listeners;
    size_t listener_count;
};

static struct sky_body_policy body_policy(h2o_req_t *req)
{
    return sky_route_body_policy(sky_worker_of(req)->config, req);
}

static void build(const struct plan *plan)
{
    struct sky_worker *worker = plan->worker;
    const struct sky_config *config = worker->config;
    h2o_context_init(&worker->ctx, h2o_evloop_create(), &plan->site->globalconf);
    h2o_multithread_register_receiver(worker->ctx.queue, &worker->stop_receiver, on_stop);
    worker->stop_poll.cb = on_stop_poll;
    worker->accept_pause.cb = on_accept_pause_over;
    worker->front =
        sky_front_new(&worker->ctx, plan->site->globalconf.hosts, config, &worker->counters);
    sky_tunnels_init(&worker->tunnels, worker->ctx.loop, config->timeouts.tunnel_idle_ms,
                     &worker->counters);
    sky_front_limit_bodies(worker->front, body_policy, &worker->bodies);
    sky_front_log_to(worker->front, worker->access_pen);
    worker->upstreams = h2o_mem_alloc(config->upstream_count * sizeof(*worker->upstreams));
    for (size_t i = 0; i < config->upstream_count; ++i)
        worker->upstreams[i] = sky_upstream_new(&worker->ctx, plan->fleet->rosters[i],
                                                worker->index, config, &worker->counters);
    take_listeners(worker, plan->listeners, plan->listener_count);
    if (config->agent.mode == SKY_MODE_STITCH)
        worker->stitch = sky_stitch_new(&worker->ctx, config, worker->index, &worker->counters);
    if (worker->stitch != NULL && worker->processes != NULL)
        sky_stitch_ask_processes(worker->stitch, worker->processes);
}

static void serve(struct sky_worker *worker)
{
    start_accepting(worker);
    while (!worker->stopped)
        h2o_evloop_run(worker->ctx.loop, INT32_MAX); /* -1 is EINTR: go on */
    if (worker->stitch != NULL)
        sky_stitch_flush(worker->stitch);
}

static void tear_down(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        h2o_socket_close(worker->listeners[i].sock);
    sky_front_destroy(worker->front);
    sky_body_share_fini(&worker->bodies);
    sky_tunnels_fini(&worker->tunnels);
    for (size_t i = 0; i < worker->config->upstream_count; ++i)
        sky_upstream_destroy(worker->upstreams[i]);
    if (worker->stitch != NULL)
        sky_stitch_destroy(worker->stitch);
    h2o_multithread_unregister_receiver(worker->ctx.queue, &worker->stop_receiver);
    /* h2o's shutdown leaves its second GOAWAY on a timer, and asserts here that none is left */
    h2o_timeout_unlink(&worker->ctx.http2._graceful_shutdown_timeout);
    h2o_loop_t *loop = worker->ctx.loop;
    h2o_context_dispose(&worker->ctx);
    h2o_evloop_destroy(loop);
    free(worker->upstreams);
    free(worker->listeners);
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
    const struct plan *plan = arg;
    struct sky_worker *worker = plan->worker;
    char name[16];
    snprintf(name, sizeof(name), "sky-worker-%zu", worker->index);
    pthread_setname_np(pthread_self(), name);
    build(plan);
    sem_post(&worker->reached); /* the plan is gone now */
    wait_for(&worker->allowed);
    if (worker->started) {
        serve(worker);
        sem_post(&worker->reached);
        wait_for(&worker->allowed);
    }
    tear_down(worker);
    return NULL;
}

struct sky_worker *sky_worker_new(size_t index, const struct sky_config *config,
                                  struct sky_site *site, struct sky_listener *listeners,
                                  size_t listener_count, const struct sky_worker_shared *shared)
{
    uint8_t entropy[32];
    if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy)) {
        sky_log(SKY_LOG_ERROR, "getrandom: no entropy for trace ids");
        return NULL;
    }
    struct sky_worker *worker = h2o_mem_alloc(sizeof(*worker));
    *worker = (struct sky_worker){.index = index,
                                  .config = config,
                                  .reporter = shared->reporter,
                                  .ring = sky_reporter_ring(shared->reporter, index),
                                  .sampling = shared->sampling,
                                  .processes = shared->processes,
                                  .access_pen = sky_access_log_pen(shared->access_log, index)};
    sky_ids_init(&worker->ids, entropy);
    worker->connection_limit = shared->connection_limit;
    worker->rate_limit = shared->rate_limit;
    sky_body_share_init(&worker->bodies, shared->body_budget);
    sem_init(&worker->reached, 0, 0);
    sem_init(&worker->allowed, 0, 0);
    struct plan plan = {worker, shared->fleet, site, listeners, listener_count};
    int rc = pthread_create(&worker->thread, NULL, run, &plan);
    if (rc != 0) {
        sky_log(SKY_LOG_ERROR, "cannot start a thread: %s", strerror(rc));
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

void sky_worker_stop(struct sky_worker *worker)
{
    h2o_multithread_message_t *message = h2o_mem_alloc(sizeof(*message));
    *message = (h2o_multithread_message_t){{NULL, NULL}};
    h2o_multithread_send_message(&worker->stop_receiver, message);
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

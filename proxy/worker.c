/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proxy/http1_back.h"
#include "proxy/http1_front.h"
#include "proxy/recycle.h"
#include "proxy/stitch.h"
#include "proxy/upstream.h"
#include "reporter/log.h"

/* Connections taken in one turn: the rest waits in the backlog while others are served. */
#define ACCEPTS_PER_TURN 16

static bool accept_one(struct sky_worker *worker, h2o_socket_t *listener)
{
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
    if (sock == NULL) {
        static struct sky_log_limit limit;
        if (errno == EMFILE || errno == ENFILE)
            sky_log_limited(&limit, SKY_LOG_ERROR,
                            "cannot accept a connection: no file descriptors left; raise the limit "
                            "(ulimit -n, LimitNOFILE=)");
        return false;
    }
    sky_count(&worker->counters, SKY_COUNT_connections);
    sky_front_accept(worker->front, sock);
    return true;
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct sky_worker *worker = listener->data;
    if (err != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; ++i)
        if (!accept_one(worker, listener))
            break;
}

static void fence_listeners(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        sky_listener_fence(h2o_socket_get_fd(worker->listeners[i]));
}

static void close_listeners(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i) {
        /* what the kernel has queued here would be reset by the close */
        while (accept_one(worker, worker->listeners[i]))
            ;
        h2o_socket_close(worker->listeners[i]);
    }
    worker->listener_count = 0;
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

static void close_upstreams(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->config->upstream_count; ++i) {
        if (worker->upstreams[i] != NULL)
            sky_upstream_destroy(worker->upstreams[i]);
        worker->upstreams[i] = NULL;
    }
}

static void *run(void *arg)
{
    struct sky_worker *worker = arg;
    char name[16];
    snprintf(name, sizeof(name), "sky-worker-%zu", worker->index);
    pthread_setname_np(pthread_self(), name);
    while (!worker->stopped)
        h2o_evloop_run(worker->ctx.loop, INT32_MAX); /* -1 is EINTR: go on */
    if (worker->stitch != NULL)
        sky_stitch_flush(worker->stitch);
    /* here and not in sky_worker_destroy: the sockets' buffers refer to this thread's storage */
    close_upstreams(worker);
    sky_back_free_recycled();
    sky_recycle_free_thread();
    return NULL;
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
            sock->data = worker;
            worker->listeners[worker->listener_count++] = sock;
        }
    }
}

struct sky_worker *sky_worker_new(size_t index, const struct sky_config *config,
                                  struct sky_site *site, struct sky_listener *listeners,
                                  size_t listener_count, struct sky_reporter *reporter)
{
    uint8_t entropy[32];
    if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy)) {
        sky_log(SKY_LOG_ERROR, "getrandom: no entropy for trace ids");
        return NULL;
    }
    struct sky_worker *worker = h2o_mem_alloc(sizeof(*worker));
    *worker = (struct sky_worker){.index = index,
                                  .config = config,
                                  .reporter = reporter,
                                  .ring = sky_reporter_ring(reporter, index)};
    sky_ids_init(&worker->ids, entropy);
    h2o_context_init(&worker->ctx, h2o_evloop_create(), &site->globalconf);
    h2o_multithread_register_receiver(worker->ctx.queue, &worker->stop_receiver, on_stop);
    worker->stop_poll.cb = on_stop_poll;
    worker->front = sky_front_new(&worker->ctx, site->globalconf.hosts, config, &worker->counters);
    worker->upstreams = h2o_mem_alloc(config->upstream_count * sizeof(*worker->upstreams));
    for (size_t i = 0; i < config->upstream_count; ++i)
        worker->upstreams[i] =
            sky_upstream_new(&worker->ctx, &config->upstreams[i], config, &worker->counters);
    take_listeners(worker, listeners, listener_count);
    if (config->agent.mode == SKY_MODE_STITCH)
        worker->stitch = sky_stitch_new(&worker->ctx, config, index, &worker->counters);
    return worker;
}

int sky_worker_start(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        h2o_socket_read_start(worker->listeners[i], on_accept);
    return pthread_create(&worker->thread, NULL, run, worker);
}

void sky_worker_stop(struct sky_worker *worker)
{
    h2o_multithread_message_t *message = h2o_mem_alloc(sizeof(*message));
    *message = (h2o_multithread_message_t){{NULL, NULL}};
    h2o_multithread_send_message(&worker->stop_receiver, message);
}

void sky_worker_join(struct sky_worker *worker)
{
    pthread_join(worker->thread, NULL);
}

void sky_worker_destroy(struct sky_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; ++i)
        h2o_socket_close(worker->listeners[i]);
    sky_front_destroy(worker->front);
    close_upstreams(worker);
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
    free(worker);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One event-loop thread and everything it owns. No other thread touches it but for the counters,
 * the front's connection count, and by sky_worker_stop. */
#ifndef SKY_PROXY_WORKER_H
#define SKY_PROXY_WORKER_H

#include <h2o.h>
#include <pthread.h>
#include <semaphore.h>

#include "propagation/ids.h"
#include "proxy/config/config.h"
#include "proxy/config/site.h"
#include "proxy/counters.h"
#include "proxy/exchange/tunnel.h"
#include "proxy/front/body_budget.h"
#include "proxy/front/listener.h"
#include "reporter/reporter.h"

struct sky_access_log;
struct sky_access_pen;
struct sky_connection_limit;
struct sky_fleet;
struct sky_front;
struct sky_processes;
struct sky_rate_limit;
struct sky_sampling_window;
struct sky_stitch;
struct sky_upstream;

struct sky_worker;

/* One of a worker's listening sockets. */
struct sky_worker_listener {
    struct sky_worker *worker;
    h2o_socket_t *sock;
    const struct sky_listener_config *config;
    SSL_CTX *tls; /* NULL: plain */
};

struct sky_worker {
    h2o_context_t ctx; /* first: a request's context is its worker */
    size_t index;
    const struct sky_config *config;
    struct sky_counters counters;
    struct sky_ids ids;
    struct sky_reporter *reporter;
    struct sky_ring *ring;
    struct sky_sampling_window *sampling;          /* of all workers */
    struct sky_processes *processes;               /* of all workers; NULL: none are asked */
    struct sky_access_pen *access_pen;             /* NULL: no access log */
    struct sky_body_share bodies;                  /* of limits.buffered_bodies */
    struct sky_connection_limit *connection_limit; /* of all workers */
    struct sky_rate_limit *rate_limit;             /* of all workers; NULL: none */
    struct sky_front *front;
    struct sky_tunnels tunnels;
    struct sky_stitch *stitch;       /* NULL in gateway mode */
    struct sky_upstream **upstreams; /* one per config->upstreams */

    /* the thread's life, worker.c */
    struct sky_worker_listener *listeners;
    size_t listener_count;
    h2o_timeout_entry_t accept_pause; /* runs while no descriptor is left */
    h2o_multithread_receiver_t stop_receiver;
    h2o_timeout_entry_t stop_poll;
    uint64_t stop_at_ms; /* loop time from which on connections are cut; 0 while running */
    bool cutting;        /* timeouts.stop has passed: running requests end as failed */
    bool stopped;
    pthread_t thread;
    sem_t reached; /* by the thread: it is built; then, it has stopped */
    sem_t allowed; /* to the thread: to serve, when started; then, to free what it made */
    bool started;
};

/* What all workers use, any thread; borrowed for their life. */
struct sky_worker_shared {
    struct sky_reporter *reporter;
    struct sky_sampling_window *sampling;
    struct sky_processes *processes;   /* NULL: none are asked */
    struct sky_access_log *access_log; /* NULL: none */
    struct sky_fleet *fleet;
    struct sky_body_budget *body_budget;
    struct sky_connection_limit *connection_limit;
    struct sky_rate_limit *rate_limit; /* NULL: none */
};

/* sky_worker_of: the worker that a request belongs to. */
static inline struct sky_worker *sky_worker_of(const h2o_req_t *req)
{
    return (struct sky_worker *)req->conn->ctx;
}

/* sky_worker_new: a thread with a loop and sockets of its own; takes its descriptors out of the
 * listeners, and waits until it is built. It does not serve yet. All pointers but the listeners are
 * borrowed for its life. NULL after a log line. */
struct sky_worker *sky_worker_new(size_t index, const struct sky_config *config,
                                  struct sky_site *site, struct sky_listener *listeners,
                                  size_t listener_count, const struct sky_worker_shared *shared);

/* sky_worker_start: lets it serve; once. */
void sky_worker_start(struct sky_worker *worker);

/* sky_worker_stop: any thread; returns at once. The worker closes its listeners, lets running
 * requests finish for timeouts.stop, cuts the rest and reports held segments. */
void sky_worker_stop(struct sky_worker *worker);

/* sky_worker_join: waits until it has stopped. Once, and after sky_worker_start only. */
void sky_worker_join(struct sky_worker *worker);

/* sky_worker_destroy: after the join, or when never started; ends the thread. */
void sky_worker_destroy(struct sky_worker *worker);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One event-loop thread and everything it owns. No other thread touches it but for the counters,
 * the front's connection count, and by orders (sky_worker_stop and the like), which it carries out
 * one after the other. */
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
#include "proxy/front/acceptor.h"
#include "proxy/front/body_budget.h"
#include "proxy/tenure.h"
#include "reporter/reporter.h"

struct sky_access_pen;
struct sky_connection_limit;
struct sky_fleet;
struct sky_front;
struct sky_processes;
struct sky_rate_limit;
struct sky_sampling_window;
struct sky_stitch;
struct sky_worker;

/* What a worker is to serve from now on; see sky_worker_plan_new. */
struct sky_worker_plan {
    struct sky_generation *generation;
    const struct sky_config *config; /* the generation's */
    struct sky_access_pen *access_pen;
    struct sky_rate_limit *rate_limit; /* NULL: there is no rate */
    struct sky_worker_listen {
        SSL_CTX *tls; /* a reference; NULL: plain */
        size_t same;  /* index of the listener in the former plan; SKY_GENERATION_NEW: it is new */
        int *fds;     /* heap: sockets that become the worker's */
        size_t fd_count;
        bool shared; /* as sky_acceptor_add takes it */
    } listeners[];   /* one per config->listeners */
};

struct sky_worker {
    h2o_context_t ctx; /* first: a request's context is its worker */
    size_t index;
    struct sky_tenure *tenure;       /* what new requests are served by */
    const struct sky_config *config; /* the tenure's */
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
    struct sky_stitch *stitch; /* NULL in gateway mode */

    /* the thread's life, worker.c */
    struct sky_acceptor acceptor;
    struct sky_door **doors; /* one per config->listeners */
    struct sky_tenure *ended_tenures;
    h2o_multithread_receiver_t orders;
    h2o_multithread_receiver_t *replies;
    h2o_multithread_message_t *changed; /* the reply that is due; NULL: none */
    h2o_timeout_entry_t stop_poll;
    uint64_t stop_at_ms; /* loop time from which on connections are cut; 0 while running */
    bool cutting;        /* timeouts.stop has passed: running requests end as failed */
    bool stopped;
    pthread_t thread;
    sem_t reached; /* by the thread: it is built; then, it has stopped */
    sem_t allowed; /* to the thread: to serve, when started; then, to free what it made */
    bool started;
    _Atomic bool beat; /* the last question of the watchdog was answered; any thread */
};

/* What all workers use, any thread; borrowed for their life. */
struct sky_worker_shared {
    struct sky_site *site;
    h2o_multithread_receiver_t *replies; /* gets a message for each change that was carried out */
    struct sky_reporter *reporter;
    struct sky_sampling_window *sampling;
    struct sky_processes *processes; /* NULL: none are asked */
    struct sky_body_budget *body_budget;
    struct sky_connection_limit *connection_limit;
};

/* sky_worker_of: the worker that a request belongs to. */
static inline struct sky_worker *sky_worker_of(const h2o_req_t *req)
{
    return (struct sky_worker *)req->conn->ctx;
}

/* sky_worker_plan_new: a plan without descriptors and TLS, in which all listeners are new. Holds
 * the generation. */
struct sky_worker_plan *sky_worker_plan_new(struct sky_generation *generation);

/* sky_worker_plan_destroy: with the descriptors that nobody took. */
void sky_worker_plan_destroy(struct sky_worker_plan *plan);

/* sky_worker_new: a thread with a loop of its own, which waits until it is built. It does not serve
 * yet. Takes the plan over. NULL after a log line. */
struct sky_worker *sky_worker_new(size_t index, struct sky_worker_plan *plan,
                                  const struct sky_worker_shared *shared);

/* sky_worker_start: lets it serve; once. */
void sky_worker_start(struct sky_worker *worker);

/* sky_worker_change: any thread; returns at once and takes the plan over. What has begun ends by
 * the former plan, what begins is served by this one. A reply follows once listeners that are gone
 * have closed. One after the other: the next only after the reply. */
void sky_worker_change(struct sky_worker *worker, struct sky_worker_plan *plan);

/* sky_worker_drain: any thread; returns at once. The worker closes its listeners and keeps no
 * connection after its next answer, but serves what there is until it is stopped. */
void sky_worker_drain(struct sky_worker *worker);

/* sky_worker_ask: any thread; returns at once. worker->beat is false until the loop has seen it. */
void sky_worker_ask(struct sky_worker *worker);

/* sky_worker_stop: any thread; returns at once. The worker closes its listeners, lets running
 * requests finish for timeouts.stop, cuts the rest and reports held segments. handed_over: for each
 * listener whether another process has its sockets by now; copied; NULL: none. */
void sky_worker_stop(struct sky_worker *worker, const bool *handed_over, size_t listener_count);

/* sky_worker_join: waits until it has stopped. Once, and after sky_worker_start only. */
void sky_worker_join(struct sky_worker *worker);

/* sky_worker_destroy: after the join, or when never started; ends the thread. */
void sky_worker_destroy(struct sky_worker *worker);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One event-loop thread and everything it owns. No other thread touches it but for the counters and
 * the messages named in worker.c. */
#ifndef SKY_PROXY_WORKER_H
#define SKY_PROXY_WORKER_H

#include <h2o.h>
#include <pthread.h>

#include "propagation/ids.h"
#include "proxy/config.h"
#include "proxy/counters.h"
#include "reporter/reporter.h"

struct sky_front;
struct sky_stitch;
struct sky_upstream;

struct sky_worker {
    h2o_context_t ctx; /* first: a request's context is its worker */
    size_t index;
    const struct sky_config *config;
    struct sky_counters counters;
    struct sky_ids ids;
    struct sky_reporter *reporter;
    struct sky_ring *ring;
    struct sky_front *front;
    struct sky_stitch *stitch; /* NULL in gateway mode */
    struct sky_upstream **upstreams; /* one per config->upstreams */
    /* life of the thread: worker.c */
    h2o_globalconf_t *globalconf;
    h2o_hostconf_t **hosts;
    h2o_socket_t **listeners;
    size_t listener_count;
    h2o_multithread_receiver_t stop_receiver;
    h2o_timeout_entry_t stop_poll;
    uint64_t stop_at_ms; /* loop time of the hard stop, 0 while running */
    bool stopped;
    pthread_t thread;
};

/* sky_worker_of: the worker that a request belongs to. */
static inline struct sky_worker *sky_worker_of(const h2o_req_t *req)
{
    return (struct sky_worker *)req->conn->ctx;
}

#endif

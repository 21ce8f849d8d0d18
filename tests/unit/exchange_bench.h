/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy under test: an event loop with the exchange's handler in a thread, and a trace that only
 * takes notes. The test itself is client and app, by blocking sockets, so each step has one order.
 * Nothing waits longer than 10 s. */
#ifndef SKY_TESTS_UNIT_EXCHANGE_BENCH_H
#define SKY_TESTS_UNIT_EXCHANGE_BENCH_H

#include <h2o.h>
#include <semaphore.h>

#include "proxy/back/roster.h"
#include "proxy/exchange/failure.h"
#include "proxy/trace/trace.h"
#include "proxy/worker.h"
#include "tests/unit/exchange_peers.h"

/* What the trace was told, in order. */
struct notes {
    int begun, attempts, sent, answered, stitched, ended;
    size_t stitch_count; /* of the last sky_trace_stitch */
    size_t stitch_data_count;
    char stitch[64];   /* its value */
    char address[128]; /* of the last attempt */
    char failure[64];  /* "" when NULL */
    struct sky_trace_outcome outcome;
};

struct bench {
    struct sky_worker worker;
    struct sky_tenure tenure, *ended;
    struct sky_upstream *upstreams[1];
    struct sky_config config;
    struct sky_upstream_config upstream;
    struct sky_roster *roster;
    struct sky_route_config route;
    struct sky_server_config servers[2]; /* [0] is the app; [1] as set before the start */
    const char *first_server; /* address text of a server to be tried before the app, or NULL */
    const char *route_path;   /* NULL: / */
    struct sky_site site;
    int listen_fd, app_fd;
    char unix_path[64]; /* "" for TCP */
    h2o_socket_t *listener;
    pthread_t thread;
    _Atomic bool stop, hold, held;
    bool small_buffers; /* of client connections, on the proxy's side */
    sem_t stopped;
};

/* bench_new: heap, all zero. What is set in it before the start is kept; times default to 10 s,
 * idle of upstream connections to 1 s. */
struct bench *bench_new(void);
void bench_start(struct bench *bench, bool unix_socket);

/* bench_started: both. */
struct bench *bench_started(bool unix_socket);

/* bench_stop: and frees it. */
void bench_stop(struct bench *bench);

/* bench_hold, bench_resume: the loop stands still in between, so that what happens meanwhile comes
 * in one round of events. */
void bench_hold(struct bench *bench);
void bench_resume(struct bench *bench);

/* bench_on_attempt: has the loop's thread call it at the next sky_trace_attempt, once. */
void bench_on_attempt(void (*hook)(void *arg), void *arg);

/* notes of the trace that ended as n-th since the start (from 1); waits for it. */
struct notes bench_notes(int n);
/* what was noted of the trace under way */
struct notes bench_notes_now(void);
uint64_t bench_counter(struct bench *bench, enum sky_counter counter);

/* bench_expect_failure: the client's page, the counter and the end of the trace that ends as n-th
 * say the same. Returns that trace's notes. */
struct notes bench_expect_failure(struct bench *bench, int client, enum sky_failure failure, int n);

#endif

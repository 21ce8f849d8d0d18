/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy under test: an event loop with the exchange's handler in a thread, and a trace that only
 * takes notes. The test itself is client and app, by blocking sockets, so each step has one order.
 * Nothing waits longer than 10 s. */
#ifndef SKY_TESTS_UNIT_EXCHANGE_BENCH_H
#define SKY_TESTS_UNIT_EXCHANGE_BENCH_H

#include <h2o.h>
#include <semaphore.h>

#include "proxy/trace.h"
#include "proxy/worker.h"

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
    struct sky_config config;
    struct sky_upstream_config upstream;
    struct sky_route_config route;
    struct sky_address servers[2]; /* [0] is the app; [1] as set before the start */
    const char *first_server; /* address text of a server to be tried before the app, or NULL */
    const char *route_path;   /* NULL: / */
    struct sky_site site;
    int listen_fd, app_fd;
    char unix_path[64]; /* "" for TCP */
    h2o_socket_t *listener;
    pthread_t thread;
    _Atomic bool stop;
    sem_t stopped;
};

/* bench_start: fields of bench->config set before it are kept; times default to 10 s, idle 1 s. */
void bench_start(struct bench *bench, bool unix_socket);
void bench_stop(struct bench *bench);

/* notes of the trace that ended as n-th since the start (from 1); waits for it. */
struct notes bench_notes(int n);
/* what was noted of the trace under way */
struct notes bench_notes_now(void);
uint64_t bench_counter(struct bench *bench, enum sky_counter counter);

int client_connect(struct bench *bench);
/* client_connect_by: the same with a socket of the caller's. */
void client_connect_by(struct bench *bench, int fd);
int app_accept(struct bench *bench);
/* app_fill_backlog: connects to the app, without accepting, until its backlog takes no more.
 * Returns how many connections fds has then. */
size_t app_fill_backlog(struct bench *bench, int fds[8]);

void send_text(int fd, const char *text);
void send_bytes(int fd, const char *bytes, size_t len);
/* send_in_thread: a pthread's start, for what would block: arg is a struct sending. What is left of
 * it afterwards was not taken. */
struct sending {
    int fd;
    const char *bytes;
    size_t len;
};
void *send_in_thread(void *arg);
/* read_exactly: so many bytes. Freed by the caller. */
char *read_exactly(int fd, size_t len);
/* read_request: a head and the body that Content-Length tells, as text. Freed by the caller. */
char *read_request(int fd);
/* read_response: head, and body by length, by chunks (decoded) or up to the close. `cut` tells that
 * it ended before it should. Freed by the caller. */
char *read_response(int fd, bool *cut);
char *read_head_response(int fd);
/* read_eof: everything up to the close. */
char *read_eof(int fd);
/* wait_closed: the other side closes; whatever came before is ignored. */
void wait_closed(int fd);
const char *body_of(const char *response);
int status_of(const char *response);

#endif

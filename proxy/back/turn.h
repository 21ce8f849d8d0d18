/* SPDX-License-Identifier: Apache-2.0 */
/* A request's hold on a server of an upstream: taken before the first attempt, moved to another
 * server when one fails, ended when the server is done with the request. Loop thread only.
 *
 *              a place            no place            server fails
 *   take ─────────────► HELD ◄──────────────── QUEUED ◄───────────── next
 *     └───────────────────────────────────────►  │ queue.timeout ─► done(QUEUE_TIMEOUT)
 *       no place, and the queue is full: REFUSED
 */
#ifndef SKY_PROXY_BACK_TURN_H
#define SKY_PROXY_BACK_TURN_H

#include "proxy/back/upstream.h"
#include "proxy/exchange/failure.h"

struct sky_turn;

/* Called once after SKY_TURN_QUEUED unless the turn is ended before: the turn holds a server, or
 * there is a failure. */
typedef void sky_turn_done_fn(struct sky_turn *turn, enum sky_failure failure);

enum sky_turn_result {
    SKY_TURN_HELD,    /* turn->server */
    SKY_TURN_QUEUED,  /* `done` follows */
    SKY_TURN_REFUSED, /* the queue is full */
    SKY_TURN_NONE     /* there is no other server; the one that was held still is */
};

/* Embedded in the request; zeroed before its first use. */
struct sky_turn {
    struct sky_upstream_server *server; /* NULL: none is held */
    uint64_t tried;                     /* bits of the servers that were held */
    struct sky_upstream *upstream;      /* while it waits */
    sky_turn_done_fn *done;
    h2o_linklist_t waiting;
    h2o_timeout_entry_t deadline;
};

/* sky_turn_take: a server for the first attempt. */
enum sky_turn_result sky_turn_take(struct sky_turn *turn, struct sky_upstream *upstream,
                                   sky_turn_done_fn *done);

/* sky_turn_next: another server in place of the one held. */
enum sky_turn_result sky_turn_next(struct sky_turn *turn, sky_turn_done_fn *done);

/* sky_turn_end: holds none any more, and waits for none; harmless when neither was so. */
void sky_turn_end(struct sky_turn *turn);

/* For upstream.c: the queue of an upstream. None may wait at fini. */
void sky_turn_init_upstream(struct sky_upstream *upstream);
void sky_turn_fini_upstream(struct sky_upstream *upstream);

#endif

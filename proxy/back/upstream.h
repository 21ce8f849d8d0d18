/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of one upstream as one worker sees them: pooled sockets that stay registered with the
 * loop, newest used first (libh2o measured: 4 system calls a request). Loop thread only.
 *
 * A connection belongs to the pool while it is idle, else to who took it. All sockets have h2o's
 * DONT_READ set: the loop only tells that there is something to read, the owner reads it.
 *
 * That an idle socket was closed, or says something unasked, arrives as an event and closes it
 * here. h2o runs the events of connected sockets before those of accepted ones, so what came with
 * one round of epoll is known before a request of that round takes a socket. */
#ifndef SKY_PROXY_BACK_UPSTREAM_H
#define SKY_PROXY_BACK_UPSTREAM_H

#include <h2o.h>

#include "proxy/back/roster.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"

/* Idle connections kept per server; more are closed when they come back. */
#define SKY_UPSTREAM_MAX_IDLE 1024

/* Addresses of one server: localhost has two. */
#define SKY_UPSTREAM_MAX_ADDRESSES 2

struct sky_upstream_address {
    struct sockaddr_storage sockaddr;
    socklen_t len;
    uint64_t failed_ms; /* loop time when it last took no connection; 0: it did since */
};

struct sky_upstream_server {
    struct sky_upstream *upstream;
    struct sky_member *member;         /* held */
    struct sky_share *share;           /* this worker's, of the member */
    const struct sky_address *address; /* the member's */
    const struct sky_server_config *config;
    uint64_t bit;  /* of struct sky_turn.tried */
    size_t users;  /* requests, connections and others that point here */
    bool has_gone; /* from the roster: freed once there are no users */

    int64_t current; /* balance.c: what the weight has earned, less what was used */

    h2o_linklist_t idle; /* sky_upstream_conn.idle, newest first */
    size_t idle_count;

    /* health.c */
    uint32_t fails;
    uint64_t fails_since_ms; /* loop time, as that of the share */

    SSL_SESSION *session; /* back_tls.c: of the last connection, NULL: none */

    /* dial.c */
    struct sky_upstream_address addresses[SKY_UPSTREAM_MAX_ADDRESSES];
    size_t address_count;
    size_t first;              /* of them is tried: the one that worked last */
    h2o_linklist_t backlogged; /* sky_dial.waiting, until the server's backlog has room */
    h2o_timeout_entry_t retry; /* runs while backlogged is not empty */
};

/* Timers of routes with a timeouts.response of their own; one list for each time. */
struct sky_upstream_clock {
    struct sky_upstream_clock *next;
    h2o_timeout_t timeout;
};

struct sky_upstream {
    h2o_context_t *ctx;
    const struct sky_upstream_config *config;
    struct sky_counters *counters;
    struct sky_roster *roster;
    size_t worker; /* index, of the shares */
    bool once;     /* a connection carries one request only */
    h2o_timeout_t connect, response, idle, retry, head_hold;
    struct sky_upstream_clock *clocks;
    struct sky_upstream_server **servers; /* heap, as each of them */
    size_t server_count;
    uint64_t version;                  /* of the roster's list that they are */
    struct sky_upstream_server **gone; /* heap; whose members are not in it any more */
    size_t gone_count;
    bool retired; /* a reload took it out: sockets that come back close */

    /* turn.c: requests that wait for a place */
    h2o_linklist_t waiting; /* sky_turn.waiting, in the order in which they came */
    h2o_timeout_t patience; /* queue.timeout */
    h2o_timeout_entry_t look_again;
    h2o_multithread_receiver_t wakes;
};

/* One connection. Heap; made by dial.c, freed by sky_upstream_close. */
struct sky_upstream_conn {
    h2o_socket_t *sock;
    struct sky_upstream_server *server;
    bool reused;                /* it has carried an answer before */
    bool once;                  /* it carries no more than one */
    SSL *ssl;                   /* NULL: plain; else read and written by back_tls.h */
    h2o_timeout_entry_t reader; /* back_tls.c */
    uint64_t idle_since_ms;
    h2o_linklist_t idle;
    h2o_timeout_entry_t idle_timer;
    h2o_timeout_t *response; /* where timers of timeouts.response go */
    /* of the owner; NULL while idle */
    void (*on_readable)(struct sky_upstream_conn *conn);
    void *owner;
};

/* sky_upstream_new: connects nothing. Pointers are borrowed for its life; `worker` is the index of
 * the shares that it writes. */
struct sky_upstream *sky_upstream_new(h2o_context_t *ctx, struct sky_roster *roster, size_t worker,
                                      const struct sky_config *config,
                                      struct sky_counters *counters);

/* sky_upstream_refresh: takes the roster's present list over. Servers that are new in it begin
 * afresh; those that are gone get no more requests, and are freed here once they have no users. */
void sky_upstream_refresh(struct sky_upstream *upstream);

/* sky_upstream_follow: the same if the list has changed; before servers are chosen from. */
static inline void sky_upstream_follow(struct sky_upstream *upstream)
{
    if (upstream->version != atomic_load_explicit(&upstream->roster->version, memory_order_relaxed))
        sky_upstream_refresh(upstream);
}

/* sky_server_hold: the server stays, whatever becomes of the roster. sky_server_release: NULL is
 * harmless. */
static inline struct sky_upstream_server *sky_server_hold(struct sky_upstream_server *server)
{
    server->users++;
    return server;
}

static inline void sky_server_release(struct sky_upstream_server *server)
{
    if (server != NULL)
        server->users--;
}

/* sky_upstream_clock: the timers for an answer's next byte; those of timeouts.response for 0. */
h2o_timeout_t *sky_upstream_clock(struct sky_upstream *upstream, uint32_t response_ms);

/* sky_upstream_take: the idle connection that was used last, if it has been idle for less than
 * max_idle_ms; else NULL. It is the caller's. */
struct sky_upstream_conn *sky_upstream_take(struct sky_upstream_server *server,
                                            uint64_t max_idle_ms);

/* sky_upstream_give_back: only after a whole answer, with nothing unread and nothing being written.
 */
void sky_upstream_give_back(struct sky_upstream_conn *conn);

/* sky_upstream_adopt: a connection of the caller's around a connected socket. */
struct sky_upstream_conn *sky_upstream_adopt(struct sky_upstream_server *server,
                                             h2o_socket_t *sock);

/* sky_upstream_stop_reading, _resume_reading: each costs a system call; on_readable is not called
 * in between. */
void sky_upstream_stop_reading(struct sky_upstream_conn *conn);
void sky_upstream_resume_reading(struct sky_upstream_conn *conn);

/* sky_upstream_close: the owner's way to end a connection. */
void sky_upstream_close(struct sky_upstream_conn *conn);

/* sky_upstream_retire: requests that have begun may go on with it, others come no more. The idle
 * sockets of servers that heir has too, and what is known of them, go to it; heir may be NULL. */
void sky_upstream_retire(struct sky_upstream *upstream, struct sky_upstream *heir);

/* sky_upstream_destroy: closes the idle sockets; none may be in use. */
void sky_upstream_destroy(struct sky_upstream *upstream);

#endif

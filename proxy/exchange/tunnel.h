/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes both ways between a client and an app that have switched to another protocol, as WebSocket.
 *
 * Nothing is read of the bytes. A side is not read while the other does not take what came before,
 * so a tunnel holds one read (64 KiB) a direction at most, and none while it is quiet. The end of
 * one side's bytes is passed on, and the other direction goes on. Loop thread only. */
#ifndef SKY_PROXY_EXCHANGE_TUNNEL_H
#define SKY_PROXY_EXCHANGE_TUNNEL_H

#include <h2o.h>
#include <stdatomic.h>

#include "propagation/text.h"
#include "proxy/counters.h"

/* How bytes of one end move; each as the system call, -1 and errno when it fails. */
struct sky_tunnel_io {
    ssize_t (*receive)(void *of, char *bytes, size_t size); /* recv(2) */
    ssize_t (*send)(void *of, struct sky_text bytes);       /* send(2) */
    void (*shut)(void *of);                                 /* shutdown(2) of our side */
};

/* sky_tunnel_plain: of is the h2o_socket_t. */
extern const struct sky_tunnel_io sky_tunnel_plain;

/* What the tunnels of one loop share. */
struct sky_tunnels {
    h2o_loop_t *loop;
    h2o_timeout_t idle;   /* without a byte either way */
    h2o_timeout_t ending; /* the app has ended, the client has not: without a byte */
    struct sky_counters *counters;
    _Atomic size_t open; /* any thread */
};

enum sky_tunnel_cause {
    SKY_TUNNEL_STOPPED, /* its owner gave it up */
    SKY_TUNNEL_CLIENT,  /* the client's bytes ended first */
    SKY_TUNNEL_APP,     /* the app's did */
    SKY_TUNNEL_IDLE
};

/* One side, and the bytes that it sends. */
struct sky_tunnel_end {
    struct sky_tunnel *tunnel;
    struct sky_tunnel_end *other;
    h2o_socket_t *sock;
    const struct sky_tunnel_io *io;
    void *of;
    uint64_t bytes;       /* received */
    char *held;           /* heap: received, not taken by the other side yet; NULL: nothing */
    struct sky_text rest; /* of held */
    bool ended;           /* nothing more comes, or is wanted */
    bool done;            /* and the other side has all of it and knows */
};

/* Read by its owner: bytes of the ends, cause. */
struct sky_tunnel {
    struct sky_tunnels *all;
    struct sky_tunnel_end client, app;
    enum sky_tunnel_cause cause;
    void (*on_end)(struct sky_tunnel *tunnel);
    void *owner;
    h2o_timeout_entry_t timer;
};

void sky_tunnels_init(struct sky_tunnels *tunnels, h2o_loop_t *loop, uint32_t idle_ms,
                      struct sky_counters *counters);

/* sky_tunnels_change: another timeouts.tunnel_idle, of those that are open too. */
void sky_tunnels_change(struct sky_tunnels *tunnels, uint32_t idle_ms);

/* sky_tunnels_fini: no tunnel may be left. */
void sky_tunnels_fini(struct sky_tunnels *tunnels);

/* sky_tunnel_init: on_end is called once, from the loop, when both directions have ended or
 * timeouts.tunnel_idle has passed; it may fini the tunnel and close the sockets. */
void sky_tunnel_init(struct sky_tunnel *tunnel, struct sky_tunnels *all,
                     void (*on_end)(struct sky_tunnel *tunnel), void *owner);

/* sky_tunnel_attach: the socket of one end, which has h2o's DONT_READ set. Its data and callbacks
 * are the tunnel's from the start on; closing it is left to its owner. */
void sky_tunnel_attach(struct sky_tunnel_end *end, h2o_socket_t *sock,
                       const struct sky_tunnel_io *io, void *of);

/* sky_tunnel_answer: the head that goes to the client ahead of the app's bytes; copied. */
void sky_tunnel_answer(struct sky_tunnel *tunnel, struct sky_text head);

/* sky_tunnel_received: bytes that came from this end before the start; copied. */
void sky_tunnel_received(struct sky_tunnel_end *end, struct sky_text bytes);

/* sky_tunnel_start: sends what was put in and begins to read. Does not call on_end. */
void sky_tunnel_start(struct sky_tunnel *tunnel);

/* sky_tunnel_receive: reads from this end as if its socket had become readable. */
void sky_tunnel_receive(struct sky_tunnel_end *end);

/* sky_tunnel_fini: once started; counts its end. Before the sockets are closed. */
void sky_tunnel_fini(struct sky_tunnel *tunnel);

#endif

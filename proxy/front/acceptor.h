/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets of one worker, and how connections get from them to the front. Loop thread
 * only.
 *
 * Who closes a listening socket resets what the kernel has queued on it. So a socket that goes is
 * fenced first (sky_listener_fence); a moment later, when the handshakes under way are done, its
 * queue is emptied and it is closed. */
#ifndef SKY_PROXY_FRONT_ACCEPTOR_H
#define SKY_PROXY_FRONT_ACCEPTOR_H

#include <h2o.h>

#include "proxy/front/door.h"

struct sky_port;
struct sky_worker;

struct sky_acceptor {
    struct sky_worker *worker;
    struct sky_port *ports;
    h2o_timeout_entry_t pause;  /* runs while no descriptor is left */
    h2o_timeout_entry_t closer; /* runs while fenced sockets wait to be closed */
    bool accepting;
};

/* sky_acceptor_init: for the front of that worker. It does not accept yet. */
void sky_acceptor_init(struct sky_acceptor *acceptor, struct sky_worker *worker);

/* sky_acceptor_add: takes over a listening, non-blocking socket. Holds the door. shared: another
 * process has it too, so that it is closed without more ado, and nobody is lost. */
void sky_acceptor_add(struct sky_acceptor *acceptor, int fd, struct sky_door *door, bool shared);

void sky_acceptor_start(struct sky_acceptor *acceptor);

/* sky_acceptor_retire: the sockets of that door are fenced, and closed a moment later. */
void sky_acceptor_retire(struct sky_acceptor *acceptor, const struct sky_door *door);

/* sky_acceptor_retire_all: the same for all doors. */
void sky_acceptor_retire_all(struct sky_acceptor *acceptor);

/* sky_acceptor_abandon: closes those of the door at once and empties none: another process has them
 * too, by now. */
void sky_acceptor_abandon(struct sky_acceptor *acceptor, const struct sky_door *door);

/* sky_acceptor_is_closing: whether one is fenced, but not closed yet. */
bool sky_acceptor_is_closing(const struct sky_acceptor *acceptor);

/* sky_acceptor_is_closed: whether no socket is left. */
bool sky_acceptor_is_closed(const struct sky_acceptor *acceptor);

/* sky_acceptor_fini: closes what is left. */
void sky_acceptor_fini(struct sky_acceptor *acceptor);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: opened once at start, one per worker thread for TCP (SO_REUSEPORT), one shared
 * by all for a unix socket. */
#ifndef SKY_PROXY_FRONT_LISTENER_H
#define SKY_PROXY_FRONT_LISTENER_H

#include <stddef.h>

#include "proxy/address.h"

struct sky_tls;

/* All descriptors of one address. An address may stand for several sockets (a name with an IPv4 and
 * an IPv6 address): worker w takes fds[w + k * per_address] for each k. */
struct sky_listener {
    const struct sky_address *address; /* borrowed */
    int *fds;                          /* heap; non-blocking, listening */
    size_t fd_count;
    size_t workers;
    bool joining;        /* the first socket too binds with SO_REUSEPORT */
    bool shared;         /* systemd has them too, and listens on when they are closed here */
    bool has_file;       /* a unix socket's, which is ours to remove */
    bool inherits_file;  /* the same once this process has taken the place of the one before */
    bool taken;          /* the workers own what the descriptors stand for, and close it */
    struct sky_tls *tls; /* owned, set by who opened it; NULL: plain */
};

/* sky_listener_open: binds `workers` sockets for the address. An address that is in use is an error
 * although the sockets share their port: the first binds without SO_REUSEPORT, unless `joining`
 * says that this process has the port already. 0, or -1 with one line in error that says what,
 * where and what to do; then nothing is left open. */
int sky_listener_open(struct sky_listener *listener, const struct sky_address *address,
                      size_t workers, bool joining, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* sky_listener_fence: from now on the kernel drops what would begin a new connection on this
 * socket, while handshakes under way complete. Who closes a listening socket resets what its queue
 * holds; who fences it, waits for those handshakes and empties the queue first loses nobody: a
 * client whose SYN was dropped tries again after a second and is told the truth by then. TCP only;
 * any thread. */
void sky_listener_fence(int fd);

/* sky_listener_own_file: the process before leaves the name of its unix socket to this one. */
void sky_listener_own_file(struct sky_listener *listener);

/* sky_listener_remove_file: the name of a unix socket, before the socket is closed: from then on it
 * may be another process's. */
void sky_listener_remove_file(struct sky_listener *listener);

/* sky_listener_close: closes what nobody took, removes the file and frees the TLS. */
void sky_listener_close(struct sky_listener *listener);

#endif

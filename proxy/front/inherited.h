/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets that this process was started with: by systemd (LISTEN_FDS, sd_listen_fds(3)),
 * or by the process whose place it takes (operation/upgrade.h). They are found by the address that
 * they are bound to. Main thread; state of the process, as descriptors are. */
#ifndef SKY_PROXY_FRONT_INHERITED_H
#define SKY_PROXY_FRONT_INHERITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* In the environment of a process that takes another one's place: the descriptor of the line to
 * it, then those of its listening sockets: "5:7,9s,11". The s marks those that are systemd's too.
 * ";12" behind them: the pipe with its keys of TLS tickets. */
#define SKY_INHERITED_VARIABLE "SKYSTITCH_UPGRADE"

/* sky_inherited_read: takes what the environment names, and takes the names out of it. Before the
 * first of the others. */
void sky_inherited_read(void);

/* sky_inherited_line: to the process whose place this one takes; -1: there is none. */
int sky_inherited_line(void);

/* sky_inherited_take: the sockets that listen on this address, to *fds (heap, NULL for none), and
 * how many. They are the caller's, non-blocking. *shared: systemd has them too, and goes on
 * listening when they are closed here. */
size_t sky_inherited_take(const struct sockaddr *address, int **fds, bool *shared);

/* sky_inherited_taken: the numbers of all that were taken, with a comma behind each; heap. */
char *sky_inherited_taken(void);

/* sky_inherited_leave_rest: closes what nobody took, with a line in the log for those of systemd;
 * of those of the process before, removes the files. */
void sky_inherited_leave_rest(void);

/* sky_inherited_left: whether the process before may still listen at this port, which nobody took:
 * it does until its queue is empty. */
bool sky_inherited_left(uint16_t port);

#endif

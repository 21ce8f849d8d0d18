/* SPDX-License-Identifier: Apache-2.0 */
/* USR2: the executable is started anew on the same listening sockets and takes this process's
 * place. Main thread. */
#ifndef SKY_PROXY_OPERATION_UPGRADE_H
#define SKY_PROXY_OPERATION_UPGRADE_H

#include <h2o.h>
#include <stdbool.h>
#include <sys/types.h>

struct sky_server;

struct sky_upgrade {
    h2o_socket_t *line; /* to the new process, while it starts; NULL: none does */
    pid_t pid;
    bool due; /* once the reload under way is done */
    h2o_timeout_t patience;
    h2o_timeout_entry_t deadline;
};

/* sky_upgrade_begin: both processes serve until the new one is ready, then this one stops: its
 * connections end as they do after TERM. When the new one does not get there, this one goes on.
 * One that finds a reload under way follows it. Refused, with a line in the log, as process 1 and
 * while this process stops, drains or has one under way. */
void sky_upgrade_begin(struct sky_server *server);

/* sky_upgrade_resume: the reload that one waits for is over. */
void sky_upgrade_resume(struct sky_server *server);

/* sky_upgrade_cancel: this process stops; a new one that starts is told to. */
void sky_upgrade_cancel(struct sky_server *server);

/* sky_upgrade_report: everything runs: tells the process whose place this one takes, if there is
 * one. */
void sky_upgrade_report(void);

#endif

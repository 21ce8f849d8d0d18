/* SPDX-License-Identifier: Apache-2.0 */
/* HUP: the configuration is read again from where it came, and takes the place of the running one
 * whole or not at all. Main thread. */
#ifndef SKY_PROXY_OPERATION_RELOAD_H
#define SKY_PROXY_OPERATION_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sky_server;
struct sky_access_log;
struct sky_worker_plan;

struct sky_reload {
    size_t pending;                    /* workers that have not changed yet */
    bool again;                        /* a hangup has come meanwhile */
    struct sky_access_log *former_log; /* to be closed when all have changed; NULL: it goes on */
    uint64_t done, failed;
    double done_at; /* seconds since 1970, of the last one that was done, or of the start */
};

/* sky_reload: reads, checks and opens everything, then tells the workers. One that finds another,
 * or an upgrade, under way follows it. What is wrong is logged, and nothing has changed then. */
void sky_reload(struct sky_server *server);

/* sky_reload_resume: what a hangup was remembered for is over. */
void sky_reload_resume(struct sky_server *server);

/* sky_reload_on_changed: one worker has changed. */
void sky_reload_on_changed(struct sky_server *server);

/* sky_reload_checks: active health checks ask the servers of the configuration in force. Between
 * two turns of the loop. */
void sky_reload_checks(struct sky_server *server);

/* sky_reload_plan: this worker's plan by what the server has now. */
struct sky_worker_plan *sky_reload_plan(struct sky_server *server, size_t worker_index);

#endif

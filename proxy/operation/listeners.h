/* SPDX-License-Identifier: Apache-2.0 */
/* The process's listening sockets, one entry for each listener of a configuration, and what a
 * reload makes of them: those whose address stays are never closed. Main thread. */
#ifndef SKY_PROXY_OPERATION_LISTENERS_H
#define SKY_PROXY_OPERATION_LISTENERS_H

#include "proxy/front/listener.h"
#include "proxy/worker.h"

struct sky_listener_set {
    struct sky_listener *items; /* one per config->listeners */
    size_t
        *same; /* index of the listener in the former set, SKY_GENERATION_NEW: it was opened here */
    size_t count;
};

/* sky_listener_set_open: certificates are read anew, sockets only opened for addresses that former
 * (NULL: none) does not have. Changes nothing of former. -1 after a line in the log; then nothing
 * is left open. */
int sky_listener_set_open(struct sky_listener_set *set, const struct sky_config *config,
                          const struct sky_listener_set *former);

/* sky_listener_set_give_up: what was opened only now is closed. */
void sky_listener_set_give_up(struct sky_listener_set *set);

/* sky_listener_set_fill: gives the plan this worker's part; once for each worker. */
void sky_listener_set_fill(struct sky_listener_set *set, struct sky_worker_plan *plan,
                           size_t worker_index);

/* sky_listener_set_follow: the set is what counts from now on. What is left of former, whose
 * sockets the workers close, is forgotten. */
void sky_listener_set_follow(struct sky_listener_set *set, struct sky_listener_set *former);

/* sky_listener_set_own_files: the process before leaves the names of unix sockets to this one. */
void sky_listener_set_own_files(struct sky_listener_set *set);

/* sky_listener_set_remove_files: the names of unix sockets, before the workers close these. */
void sky_listener_set_remove_files(struct sky_listener_set *set);

/* sky_listener_set_leave_files: the names of unix sockets are another process's from now on. */
void sky_listener_set_leave_files(struct sky_listener_set *set);

/* sky_listener_set_close: closes what no worker took. */
void sky_listener_set_close(struct sky_listener_set *set);

/* sky_listener_set_check: reads the certificates only. The number of listeners that have a defect,
 * each after a line in the log. */
size_t sky_listener_set_check(const struct sky_config *config);

#endif

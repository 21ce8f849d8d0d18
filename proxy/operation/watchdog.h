/* SPDX-License-Identifier: Apache-2.0 */
/* systemd's watchdog (WatchdogSec=): told of life as long as the loop of each worker turns, so that
 * a process with one that stands still is started anew. Main thread. */
#ifndef SKY_PROXY_OPERATION_WATCHDOG_H
#define SKY_PROXY_OPERATION_WATCHDOG_H

#include <h2o.h>
#include <stdbool.h>

struct sky_server;

struct sky_watchdog {
    bool runs;
    h2o_timeout_t period;
    h2o_timeout_entry_t timer;
};

/* sky_watchdog_start: nothing is done when systemd does not ask for it. */
void sky_watchdog_start(struct sky_server *server);

/* sky_watchdog_stop: before the loop ends. */
void sky_watchdog_stop(struct sky_server *server);

#endif

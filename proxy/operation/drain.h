/* SPDX-License-Identifier: Apache-2.0 */
/* POST /drain: this process leaves the set of those that get new connections, and serves on until
 * it is told to stop. Main thread. */
#ifndef SKY_PROXY_OPERATION_DRAIN_H
#define SKY_PROXY_OPERATION_DRAIN_H

#include <h2o.h>

struct sky_server;

struct sky_drain {
    h2o_timeout_t delay;
    h2o_timeout_entry_t timer; /* until the listeners close */
};

/* sky_drain_begin: /readyz answers 503 from now on; after timeouts.drain_delay, by when whoever
 * sends connections should have seen it, the listeners close and answers say Connection: close. A
 * second one changes nothing. */
void sky_drain_begin(struct sky_server *server);

/* sky_drain_end: before the loop ends. */
void sky_drain_end(struct sky_server *server);

#endif

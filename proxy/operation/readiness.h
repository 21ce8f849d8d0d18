/* SPDX-License-Identifier: Apache-2.0 */
/* Whether any server of any upstream can be reached, for /readyz. Who asks has the servers dialled,
 * but those that active checks tell of; the first that answers is enough. What was found holds for
 * a second, and nobody waits longer than that. Main thread. */
#ifndef SKY_PROXY_OPERATION_READINESS_H
#define SKY_PROXY_OPERATION_READINESS_H

#include <h2o.h>

#include "proxy/back/roster.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"

struct sky_readiness;

/* Embedded in who asks; zeroed but for done. */
struct sky_readiness_query {
    h2o_linklist_t waiting;
    void (*done)(struct sky_readiness_query *query, bool reachable);
};

/* sky_readiness_new: `share` is the index of the main thread's shares; all pointers are borrowed.
 */
struct sky_readiness *sky_readiness_new(h2o_context_t *ctx, struct sky_fleet *fleet, size_t share,
                                        const struct sky_config *config,
                                        struct sky_counters *counters);

/* sky_readiness_ask: done is called once, at once or from the loop. */
void sky_readiness_ask(struct sky_readiness *readiness, struct sky_readiness_query *query);

/* sky_readiness_forget: done is not called any more; harmless when it was. */
void sky_readiness_forget(struct sky_readiness_query *query);

/* sky_readiness_destroy: between two turns of the loop. Who still waits is told what was known
 * last. NULL is harmless. */
void sky_readiness_destroy(struct sky_readiness *readiness);

#endif

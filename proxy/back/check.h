/* SPDX-License-Identifier: Apache-2.0 */
/* Active health checks: one checker in the process, on the main thread, asks each server of the
 * upstreams that have a health_check.path; workers see the result in the server's member. */
#ifndef SKY_PROXY_BACK_CHECK_H
#define SKY_PROXY_BACK_CHECK_H

#include <h2o.h>

#include "proxy/back/roster.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"

/* What is thought of a server. Zeroed: nothing is known, and it is taken for up. */
struct sky_check_state {
    bool known, down;
    uint32_t row; /* results one after the other that speak against it */
};

/* sky_check_note: takes one more result in. True when the server is thought of otherwise now. The
 * first result of all counts at once; then `rise` good or `fall` bad ones in a row. Pure. */
bool sky_check_note(struct sky_check_state *state, bool passed, uint32_t rise, uint32_t fall);

struct sky_checks;

/* sky_checks_new: begins to check, each server at a moment of its own within the first interval or
 * second. `share` is the index of the fleet's shares that is the checker's. All pointers are
 * borrowed. */
struct sky_checks *sky_checks_new(h2o_context_t *ctx, struct sky_fleet *fleet, size_t share,
                                  const struct sky_config *config, struct sky_counters *counters);

/* sky_checks_follow: names may have other addresses now: those that are new are checked, too, those
 * that are gone are not any more. Never from below the loop. */
void sky_checks_follow(struct sky_checks *checks);

/* sky_checks_destroy: gives up what is under way. NULL is harmless. */
void sky_checks_destroy(struct sky_checks *checks);

#endif

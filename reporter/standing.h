/* SPDX-License-Identifier: Apache-2.0 */
/* How the backends stand: which is called next, and what calls' ends say of them, to the log, the
 * counters and the status. Reporter thread only; the clock is the caller's. */
#ifndef SKY_REPORTER_STANDING_H
#define SKY_REPORTER_STANDING_H

#include "reporter/backends.h"
#include "reporter/log.h"
#include "reporter/status.h"
#include "reporter/tally.h"
#include "reporter/transport.h"

struct sky_standing {
    /* Borrowed. */
    const char *const *names;
    const char *credentials_option; /* what to look at when a call is denied */
    struct sky_tally *tally;
    struct sky_status *status;
    struct sky_backends backends;
    /* What the log has said already. */
    bool told_up, told_down, told_denied, told_unsupported;
    struct sky_log_limit up_limit, down_limit, switch_limit, denied_limit;
};

/* sky_standing_init: all backends are ready at once. `names` has `count` of them. */
void sky_standing_init(struct sky_standing *standing, const char *const *names, size_t count);

/* sky_standing_count: counts a call that has ended, and its error. */
void sky_standing_count(struct sky_standing *standing, const struct sky_call *call);

/* sky_standing_answered: the call was answered by a backend that works. `epoch`: of the backends
 * when it was started. */
void sky_standing_answered(struct sky_standing *standing, const struct sky_call *call,
                           unsigned epoch);

/* sky_standing_failed: it was not; the next is called, or there is a pause. */
void sky_standing_failed(struct sky_standing *standing, const struct sky_call *call, unsigned epoch,
                         int64_t now_ms);

/* sky_standing_tell: a line for a call whose token or path is wrong, once. */
void sky_standing_tell(struct sky_standing *standing, const struct sky_call *call);

/* sky_standing_is_away: calls fail, and none has been answered since. */
bool sky_standing_is_away(const struct sky_standing *standing);

#endif

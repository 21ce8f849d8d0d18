/* SPDX-License-Identifier: Apache-2.0 */
/* Which traced requests are reported: the options agent.sampling.*. Decided twice: when a request
 * begins, and, for those that the first decision did not take, when its end is known. Pure but for
 * the window, which all workers share; times are passed in. */
#ifndef SKY_PROXY_TRACE_SAMPLING_H
#define SKY_PROXY_TRACE_SAMPLING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "propagation/ids.h"
#include "proxy/config/config.h"

/* What agent.sampling.per_3_seconds has taken in the current three seconds, over all workers.
 * Zero-initialised. */
struct sky_sampling_window {
    _Atomic uint64_t state; /* number of the three seconds, and how many were taken in them */
};

/* Where the request's trace comes from. */
enum sky_sampling_origin {
    SKY_SAMPLING_OURS,             /* begins here */
    SKY_SAMPLING_JOINED,           /* its caller reports it */
    SKY_SAMPLING_JOINED_UNSAMPLED, /* its caller's sw8 says 0: it reports only what it keeps */
};

enum sky_sampling_verdict {
    SKY_SAMPLING_REPORT,
    SKY_SAMPLING_UNDECIDED, /* ask sky_sampling_end */
    SKY_SAMPLING_LEAVE      /* nothing could keep it: not to be traced at all */
};

enum sky_sampling_kept { SKY_SAMPLING_LEFT, SKY_SAMPLING_KEPT_ERROR, SKY_SAMPLING_KEPT_SLOW };

/* sky_sampling_begin: trace is the id of a trace of ours, by whose bits the rate decides; not read
 * when it is joined. now_us is monotonic. Joined requests are taken whatever the options say, and
 * use up the window as they do with the in-app agent. Any thread. */
enum sky_sampling_verdict sky_sampling_begin(const struct sky_sampling_config *config,
                                             struct sky_sampling_window *window,
                                             enum sky_sampling_origin origin, struct sky_id trace,
                                             int64_t now_us);

/* sky_sampling_end: for SKY_SAMPLING_UNDECIDED. failed: the entry span is an error. */
enum sky_sampling_kept sky_sampling_end(const struct sky_sampling_config *config, bool failed,
                                        int64_t duration_us);

#endif

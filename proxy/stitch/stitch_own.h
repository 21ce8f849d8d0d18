/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of the app's own: of a cron job, a worker of a queue, a shell. It comes whole in one
 * message of kind "segment", whose spans are written as those of a request's part; the one with id
 * 1 is the root. No clock, no I/O. */
#ifndef SKY_PROXY_STITCH_STITCH_OWN_H
#define SKY_PROXY_STITCH_STITCH_OWN_H

#include "propagation/sw8.h"
#include "proxy/stitch/stitch_message.h"

/* What one root may be caused by: a batch of messages of a queue. */
#define SKY_STITCH_MAX_REFS 64

struct sky_stitch_own {
    struct sky_text trace_id;          /* valid UTF-8, at most SKY_SW8_MAX_ID_BYTES */
    struct sky_text service, instance; /* empty: the proxy's */
    struct sky_id segment;
    struct sky_span *spans; /* ids from 0; parents among the earlier ones */
    size_t span_count;      /* at least 1 */
    const struct sky_sw8 *refs;
    size_t ref_count;
    int64_t duration_us; /* of the root, not negative */
    bool size_limited;
};

/* sky_stitch_own_read: everything is in the pool or points into the message. False when there is no
 * trace id, no time or no root. */
bool sky_stitch_own_read(const struct sky_stitch_message *message, h2o_mem_pool_t *pool,
                         struct sky_stitch_own *own) __attribute__((warn_unused_result));

#endif

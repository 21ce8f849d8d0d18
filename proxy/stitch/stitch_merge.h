/* SPDX-License-Identifier: Apache-2.0 */
/* Turns what the helper said into spans of the proxy's segment. Pure but for the pool. */
#ifndef SKY_PROXY_STITCH_STITCH_MERGE_H
#define SKY_PROXY_STITCH_STITCH_MERGE_H

#include <h2o.h>

#include "proxy/stitch/stitch_part.h"

/* The entry span, as far as the helper's part depends on it; microseconds since 1970. */
struct sky_stitch_window {
    int64_t t0_us;  /* its begin, as sent to the app */
    int64_t end_us; /* >= t0_us */
};

struct sky_stitch_merged {
    struct sky_span *spans; /* by ascending id, which is >= 1 and as sent; in the pool */
    size_t span_count;
    int32_t component;         /* of the entry span; 0: the helper did not say */
    struct sky_text operation; /* of the entry span; empty: the helper knew no route */
    bool size_limited;         /* something is known to be missing */
    /* What was mended, to be counted. */
    uint32_t duplicate_ids; /* spans dropped: an earlier one had the id */
    uint32_t
        bad_parents;    /* spans hung under the entry span: their parent is none of the segment's */
    uint32_t bad_times; /* spans more than a second outside the entry span, clamped as all are */
};

/* sky_stitch_merge_part: the spans keep pointing at the part's texts and tags. A parent must have a
 * smaller id than its child, since ids are given at the begin: that breaks every circle. */
void sky_stitch_merge_part(h2o_mem_pool_t *pool, const struct sky_app_part *part,
                           const struct sky_stitch_window *window,
                           struct sky_stitch_merged *merged);

/* sky_stitch_floor_ms: milliseconds on the wire to OAP, from microseconds since 1970. Entry and app
 * must round alike, or a child would begin before its parent. */
static inline int64_t sky_stitch_floor_ms(int64_t us)
{
    return us / 1000;
}

/* sky_stitch_entry_error: isError of the entry span: the status, from the option on (500 by
 * default), or an answer that did not end as it should. */
static inline bool sky_stitch_entry_error(int status, uint32_t error_status, bool cut)
{
    return cut || (status > 0 && (uint32_t)status >= error_status);
}

#endif

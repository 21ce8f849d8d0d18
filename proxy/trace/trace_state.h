/* SPDX-License-Identifier: Apache-2.0 */
/* What a trace holds; shared by trace.c (life, headers) and trace_report.c (segment). */
#ifndef SKY_PROXY_TRACE_TRACE_STATE_H
#define SKY_PROXY_TRACE_TRACE_STATE_H

#include <h2o.h>

#include "propagation/sw8.h"
#include "proxy/stitch/stitch.h"
#include "proxy/tenure.h"
#include "proxy/trace/trace.h"

struct sky_trace {
    struct sky_stitch_entry entry; /* first: the stitch hands it back */
    h2o_mem_pool_t pool;           /* everything below points into it, or is longer-lived */
    struct sky_worker *worker;
    struct sky_tenure *tenure;        /* held: that of its request, which may be over */
    const struct sky_address *server; /* of the last attempt; NULL when none was made */

    const struct sky_sampling_config *sampling; /* the configuration's, or the route's */
    bool joined;                                /* parent came with the request */
    bool undecided;                             /* unsampled: reported only if kept */
    bool skip_analysis;                         /* sw8-x: 1 */
    struct sky_sw8 parent;                      /* when joined */
    struct sky_text trace_id;                   /* the parent's, or trace_hex */
    struct sky_text operation;                  /* until the helper names the route */
    struct sky_text method, url, peer, correlation;
    struct sky_text params, headers; /* empty: none, or not to be shown */
    char trace_hex[SKY_ID_HEX], segment_hex[SKY_ID_HEX];

    /* microseconds since 1970; clock steps within a request are kept out: only received_us is read
     * from the wall clock, the rest are monotonic differences to it */
    int64_t received_us, sent_us, answered_us, end_us;
    int64_t queued_us; /* until when it waited for a server; 0: it did not */
    int64_t wall_minus_monotonic_us;
    struct sky_trace_outcome outcome; /* from the end on */
};

/* sky_trace_failed: whether the entry span is an error; once there is an outcome. */
bool sky_trace_failed(const struct sky_trace *trace);

/* sky_trace_broke_unseen: whether an exception has ended the app's answer, but its server let it
 * look whole: some end it by closing the connection, or with a last chunk all the same. Only the
 * app's part tells then. */
bool sky_trace_broke_unseen(const struct sky_trace *trace);

/* sky_trace_free: the trace and all that points into its pool are gone. */
void sky_trace_free(struct sky_trace *trace);

/* sky_trace_report: packs the segment into the worker's ring and frees the trace. */
void sky_trace_report(struct sky_stitch_entry *entry);

/* sky_trace_ref: the reference to the caller of an sw8, which it points into. */
struct sky_ref sky_trace_ref(const struct sky_sw8 *parent);

/* sky_trace_push: packs a segment into the worker's ring; counts. */
void sky_trace_push(struct sky_worker *worker, const struct sky_segment *segment);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the helper's part of a segment to the trace that waits for it (stitch protocol, version 1):
 * the answer header, the messages of the channel, the bounded wait. Loop thread only.
 *
 * Happy path: track -> [messages] -> answer (header) -> finish -> report at once.
 * Otherwise: finish with messages announced and not yet there -> held until they come, until
 * stitch.hold has passed, or until the held bytes exceed stitch.hold_max (oldest first) -> report. */
#ifndef SKY_PROXY_STITCH_H
#define SKY_PROXY_STITCH_H

#include <h2o.h>

#include "propagation/ids.h"
#include "proxy/config.h"
#include "proxy/counters.h"
#include "proxy/stitch_part.h"

struct sky_stitch;
struct sky_stitch_entry;

typedef void sky_stitch_report_fn(struct sky_stitch_entry *entry);

/* Embedded in what is traced. The pool is the trace's own; messages are parsed into it. */
struct sky_stitch_entry {
    h2o_linklist_t bucket; /* of the table by segment id */
    h2o_linklist_t held;   /* in order of the deadline, while held */
    struct sky_id segment;
    h2o_mem_pool_t *pool;
    const void *upstream; /* identity only: where a helper was seen before */
    sky_stitch_report_fn *report; /* called once, after finish */
    uint64_t deadline_ms; /* loop time */
    size_t held_bytes;
    bool finished;
    struct sky_app_part part;
};

/* sky_stitch_new: opens the worker's channel. NULL after a log line when the channel cannot be had
 * (then the caller goes on with NULL error as stitch without channel: see errors in stitch.c). */
struct sky_stitch *sky_stitch_new(h2o_context_t *ctx, const struct sky_config *config,
                                  size_t worker_index, struct sky_counters *counters);

/* sky_stitch_channel: the channel's address as sw8-stitch carries it for an upstream that is (or is
 * not) on this machine: "@name", "/path" or "-". Valid as long as the stitch. */
struct sky_text sky_stitch_channel(const struct sky_stitch *stitch, bool upstream_is_local);

/* sky_stitch_track: messages for entry->segment go to entry from now on; all other fields but segment,
 * pool, upstream and report are initialised here. */
void sky_stitch_track(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_retrack: the same under a new segment id (retry); what had come for the old is dropped. */
void sky_stitch_retrack(struct sky_stitch *stitch, struct sky_stitch_entry *entry, struct sky_id segment);

/* sky_stitch_answer: the sw8-stitch field of the final answer; count as in sky_trace_stitch. */
void sky_stitch_answer(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                       struct sky_text value, size_t count);

/* sky_stitch_finish: the entry's own part is whole. Calls entry->report now or later; after report
 * returned the entry is not touched any more. */
void sky_stitch_finish(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_flush: reports everything that is held, as it is (stop). */
void sky_stitch_flush(struct sky_stitch *stitch);

void sky_stitch_destroy(struct sky_stitch *stitch);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the helper's part of a segment to the trace that waits for it (stitch protocol, version
 * 1): the answer header, the messages of the channel, the bounded wait. Loop thread only.
 *
 * Happy path: track -> [messages] -> answer (header) -> finish -> report at once.
 * Otherwise: finish with messages announced and not yet there -> held until they come, until
 * stitch.hold has passed, or until the held bytes exceed stitch.hold_max (oldest first) -> report.
 */
#ifndef SKY_PROXY_STITCH_STITCH_H
#define SKY_PROXY_STITCH_STITCH_H

#include <h2o.h>

#include "propagation/ids.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"
#include "proxy/stitch/stitch_merge.h"
#include "proxy/stitch/stitch_part.h"

struct sky_processes;
struct sky_stitch;
struct sky_stitch_entry;
struct sky_stitch_hold;

typedef void sky_stitch_report_fn(struct sky_stitch_entry *entry);

struct sky_stitch_own;

/* A segment of the app's own, made without a request; its memory is gone when this returns. */
typedef void sky_stitch_own_fn(void *data, const struct sky_stitch_own *own);

/* Embedded in what is traced. The owner sets the first four fields before sky_stitch_track, and may
 * change upstream until sky_stitch_finish; the rest belongs to the stitch. */
struct sky_stitch_entry {
    struct sky_id segment;
    h2o_mem_pool_t *pool;         /* the trace's own; messages are parsed into it */
    const void *upstream;         /* identity only: where a helper was seen before */
    sky_stitch_report_fn *report; /* called once, after finish */
    h2o_linklist_t bucket;        /* of the table by segment id, while tracked */
    h2o_linklist_t held;          /* oldest first, while held */
    h2o_timeout_entry_t timer;    /* ends the hold */
    struct sky_stitch_hold *hold; /* while held: for the timer */
    size_t bytes;                 /* accounted to stitch.hold_max */
    struct sky_app_part part;
};

/* The longest value of sky_stitch_request_value. */
#define SKY_STITCH_REQUEST_MAX_BYTES 256

/* sky_stitch_new: opens the worker's channel. Never NULL: a channel that cannot be had is one log
 * line and a count, and the stitch goes on with the answer headers alone. The pointers are borrowed
 * for the stitch's life. Any thread, before the loop runs. */
struct sky_stitch *sky_stitch_new(h2o_context_t *ctx, const struct sky_config *config,
                                  size_t worker_index, struct sky_counters *counters);

/* sky_stitch_ask_processes: what processes say of themselves goes to `processes` from now on, and
 * helpers are asked for it. Borrowed for the stitch's life. Before the first request. */
void sky_stitch_ask_processes(struct sky_stitch *stitch, struct sky_processes *processes);

/* sky_stitch_on_own: segments of the app's own go there. Without it they are refused. Before the
 * first request. */
void sky_stitch_on_own(struct sky_stitch *stitch, sky_stitch_own_fn *on_own, void *data);

/* sky_stitch_channel: the channel's address as sw8-stitch carries it for an upstream that is (or is
 * not) on this machine: "@name", "/path" or "-". Valid as long as the stitch. */
struct sky_text sky_stitch_channel(const struct sky_stitch *stitch, bool upstream_is_local);

/* sky_stitch_request_value: writes the value of the request's sw8-stitch field to dst, which must
 * hold SKY_STITCH_REQUEST_MAX_BYTES; no NUL. t0_us: when the first byte of the request line was
 * read, since 1970. will_report: flag `s`. Returns the length. */
size_t sky_stitch_request_value(const struct sky_stitch *stitch, struct sky_id segment,
                                int64_t t0_us, bool will_report, bool upstream_is_local, char *dst);

/* sky_stitch_track: messages for entry->segment go to entry from now on. No allocation. */
void sky_stitch_track(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_retrack: the same under a new segment id (retry); what had come for the old is
 * dropped. */
void sky_stitch_retrack(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                        struct sky_id segment);

/* sky_stitch_untrack: gives the entry up without a report (a trace that is not kept). Not after
 * sky_stitch_finish. */
void sky_stitch_untrack(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_answer: the sw8-stitch field of the final answer, and how many such fields there were
 * (0: none, value is not read; more than one: none is used). */
void sky_stitch_answer(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                       struct sky_text value, size_t count);

/* sky_stitch_data: the same for the field sw8-stitch-data (no channel, a common token): a message
 * in base64. Taken only when stitch.token is set. Called only when there is such a field. */
void sky_stitch_data(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                     struct sky_text value, size_t count);

/* sky_stitch_catch_up: brings entry->part up to date before somebody decides by it; reads the
 * channel only if a message may have come that the answer could not announce (`?`). */
void sky_stitch_catch_up(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_finish: the entry's own part is whole. Calls entry->report now or later; from that
 * call on the entry is not touched any more, so report may free it. report must not call into the
 * stitch but for sky_stitch_merge. */
void sky_stitch_finish(struct sky_stitch *stitch, struct sky_stitch_entry *entry);

/* sky_stitch_merge: for report: the entry's part as spans of the segment, in entry->pool. Counts
 * what had to be mended. */
void sky_stitch_merge(struct sky_stitch *stitch, struct sky_stitch_entry *entry,
                      const struct sky_stitch_window *window, struct sky_stitch_merged *merged);

/* sky_stitch_bytes: memory of messages and held entries. Any thread. */
size_t sky_stitch_bytes(const struct sky_stitch *stitch);

/* sky_stitch_flush: reports everything that is held, as it is (stop). */
void sky_stitch_flush(struct sky_stitch *stitch);

/* sky_stitch_destroy: flushes and closes the channel. No entry may be tracked any more. */
void sky_stitch_destroy(struct sky_stitch *stitch);

#endif

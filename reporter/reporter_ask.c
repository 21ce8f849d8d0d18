/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads may ask of the reporter while its own thread works. */
#include <assert.h>
#include <string.h>

#include "reporter/courier.h"
#include "reporter/reporter_parts.h"
#include "reporter/segment_json.h"
#include "reporter/transport.h"

struct sky_ring *sky_reporter_ring(struct sky_reporter *reporter, size_t worker)
{
    assert(worker < reporter->options.worker_count);
    return reporter->rings[worker];
}

void sky_reporter_submit(struct sky_reporter *reporter, struct sky_packet *packet)
{
    if (sky_inbox_put(&reporter->inbox, packet))
        sky_reporter_wake(reporter);
}

bool sky_reporter_takes(const struct sky_reporter *reporter, enum sky_packet_kind kind)
{
    return (reporter->lacks >> sky_call_of(kind) & 1) == 0;
}

void sky_reporter_offer(struct sky_reporter *reporter, struct sky_packet *packet)
{
    assert(packet->kind != SKY_PACKET_SEGMENT);
    if (sky_courier_offer(reporter->courier, packet))
        sky_reporter_wake(reporter);
}

static void add_spool(struct sky_reporter *reporter, struct sky_reporter_counters *counters)
{
    struct sky_spool_totals totals;

    if (reporter->spool == NULL)
        return;
    sky_spool_totals(reporter->spool, &totals);
    counters->spool_segments = totals.packets;
    counters->spool_bytes = totals.bytes;
    counters->spool_ready = totals.is_open && !totals.is_failing;
    counters->spool_found = totals.found;
    counters->spool_written = totals.written;
    counters->spool_read = totals.read;
    counters->spool_failures = totals.failures;
    counters->dropped_spool_full = totals.dropped_full;
    counters->dropped_spool_damaged = totals.dropped_unreadable;
    counters->lost_in_crash = totals.lost;
}

void sky_reporter_counters(struct sky_reporter *reporter, struct sky_reporter_counters *counters)
{
    *counters = (struct sky_reporter_counters){0};
#define SKY_COUNTER(name, metric, labels, help) \
    counters->name = sky_tally_read(&reporter->tally, SKY_TALLY_##name);
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    for (size_t i = 0; i < reporter->options.worker_count; i++) {
        size_t refused = sky_ring_refused(reporter->rings[i]);
        counters->segments += sky_ring_pushed(reporter->rings[i]) + refused;
        counters->dropped_ring += refused;
    }
    sky_courier_add_counts(reporter->courier, counters);
    struct sky_inbox_totals inbox = sky_inbox_totals(&reporter->inbox);
    counters->segments += inbox.taken + inbox.refused + inbox.late;
    counters->dropped_ring += inbox.refused;
    counters->dropped_stop += inbox.late;
    add_spool(reporter, counters);
    counters->batch_segments = sky_histogram_read(&reporter->tally.batch_segments);
    counters->call_ms = sky_histogram_read(&reporter->tally.call_ms);
    counters->backlog_segments =
        atomic_load_explicit(&reporter->backlog_segments, memory_order_relaxed);
    counters->backlog_bytes = atomic_load_explicit(&reporter->backlog_bytes, memory_order_relaxed);
    pthread_mutex_lock(&reporter->status.lock);
    counters->connected = reporter->status.is_connected;
    memcpy(counters->last_error, reporter->status.last_error, sizeof(counters->last_error));
    pthread_mutex_unlock(&reporter->status.lock);
    if (reporter->local == NULL)
        return;
    struct sky_local_totals totals = sky_local_totals(reporter->local);
    counters->local_segments = totals.segments;
    counters->local_bytes = totals.bytes;
    counters->local_evicted = totals.evicted;
}

char *sky_reporter_traces_json(struct sky_reporter *reporter, size_t limit)
{
    return reporter->local != NULL ? sky_local_traces(reporter->local, limit) : NULL;
}

char *sky_reporter_trace_json(struct sky_reporter *reporter, struct sky_text trace_id)
{
    return reporter->local != NULL ? sky_local_trace(reporter->local, trace_id) : NULL;
}

int sky_reporter_accept_json(struct sky_reporter *reporter, struct sky_text body, char *error,
                             size_t error_size)
{
    struct sky_packets segments = {0};
    struct sky_packet *packet;

    if (!sky_segments_from_json(body, &segments, error, error_size))
        return -1;
    int count = (int)segments.count;
    while ((packet = sky_packets_shift(&segments)) != NULL)
        sky_reporter_submit(reporter, packet);
    return count;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two thresholds lies what a slow disk has time for. */
#include "reporter/spool/spill.h"

static void put(struct sky_spill *spill, struct sky_packets *packets)
{
    spill->put_count += packets->count;
    sky_spool_put(spill->spool, packets);
}

void sky_spill_relieve(struct sky_spill *spill)
{
    while (sky_spill_is_due(spill) && spill->live->queue.count > 0 &&
           sky_spool_has_room(spill->spool)) {
        struct sky_packets packets = {0};
        sky_backlog_pull(spill->live, spill->move_bytes, &packets);
        put(spill, &packets);
    }
}

void sky_spill_publish(const struct sky_spill *spill, uint64_t taken)
{
    struct sky_page *page = spill->spool != NULL ? sky_spool_page(spill->spool) : NULL;

    if (page != NULL)
        sky_page_store(&page->settled, taken - sky_backlog_count(spill->live) - spill->put_count);
}

int64_t sky_spill_run(struct sky_spill *spill, bool is_up, int64_t now_ms)
{
    if (spill->spool == NULL)
        return INT64_MAX;
    if (sky_spill_is_due(spill))
        sky_spill_relieve(spill);
    if (sky_backlog_count(&spill->readback) > 0)
        return INT64_MAX;
    if (spill->is_taken)
        sky_spool_settle(spill->spool);
    spill->is_taken = false;
    if (!is_up)
        return INT64_MAX;
    if (now_ms < spill->next_take_ms)
        return spill->next_take_ms;
    spill->is_taken = sky_spool_take(spill->spool, &spill->readback.queue);
    if (spill->is_taken && spill->rate_bytes > 0)
        spill->next_take_ms =
            now_ms + (int64_t)(spill->readback.queue.bytes * 1000 / spill->rate_bytes);
    return INT64_MAX;
}

size_t sky_spill_stop(struct sky_spill *spill, uint64_t taken, int64_t deadline_ms)
{
    struct sky_packets all = {0};

    if (spill->spool == NULL)
        return sky_packets_free(&spill->live->queue);
    sky_backlog_pull(spill->live, SIZE_MAX, &all);
    put(spill, &all);
    sky_spill_publish(spill, taken);
    size_t unsettled = sky_packets_free(&spill->readback.queue);
    if (unsettled == 0 && spill->is_taken)
        sky_spool_settle(spill->spool);
    return sky_spool_stop(spill->spool, deadline_ms, unsettled);
}

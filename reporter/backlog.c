/* SPDX-License-Identifier: Apache-2.0 */
/* A queue and a tally of what is out of it. */
#include "reporter/backlog.h"

#include <assert.h>

size_t sky_backlog_add(struct sky_backlog *backlog, struct sky_packet *packet)
{
    size_t dropped = 0;

    sky_packets_add(&backlog->queue, packet);
    while (sky_backlog_bytes(backlog) > backlog->max_bytes && backlog->queue.count > 0) {
        free(sky_packets_shift(&backlog->queue));
        dropped++;
    }
    return dropped;
}

void sky_backlog_take(struct sky_backlog *backlog, size_t max_count, size_t max_bytes,
                      struct sky_packets *batch)
{
    assert(batch->count == 0);
    while (backlog->queue.count > 0 && batch->count < max_count) {
        if (batch->count > 0 && batch->bytes + sky_packet_cost(backlog->queue.first) > max_bytes)
            break;
        sky_packets_add(batch, sky_packets_shift(&backlog->queue));
    }
    backlog->taken_count += batch->count;
    backlog->taken_bytes += batch->bytes;
}

void sky_backlog_pull(struct sky_backlog *backlog, size_t max_bytes, struct sky_packets *packets)
{
    while (backlog->queue.count > 0 && packets->bytes < max_bytes)
        sky_packets_add(packets, sky_packets_shift(&backlog->queue));
}

static void settle(struct sky_backlog *backlog, const struct sky_packets *batch)
{
    assert(backlog->taken_count >= batch->count);
    backlog->taken_count -= batch->count;
    backlog->taken_bytes -= batch->bytes;
}

void sky_backlog_return(struct sky_backlog *backlog, struct sky_packets *batch)
{
    settle(backlog, batch);
    sky_packets_prepend(&backlog->queue, batch);
}

size_t sky_backlog_release(struct sky_backlog *backlog, struct sky_packets *batch)
{
    settle(backlog, batch);
    return sky_packets_free(batch);
}

size_t sky_backlog_count(const struct sky_backlog *backlog)
{
    return backlog->queue.count + backlog->taken_count;
}

size_t sky_backlog_bytes(const struct sky_backlog *backlog)
{
    return backlog->queue.bytes + backlog->taken_bytes;
}

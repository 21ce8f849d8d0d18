/* SPDX-License-Identifier: Apache-2.0 */
/* The lock is held for a few instructions. */
#include "reporter/inbox.h"

#include <stdatomic.h>

void sky_inbox_init(struct sky_inbox *inbox, size_t max_bytes)
{
    *inbox = (struct sky_inbox){.max_bytes = max_bytes};
    pthread_mutex_init(&inbox->lock, NULL);
}

void sky_inbox_fini(struct sky_inbox *inbox)
{
    sky_packets_free(&inbox->packets);
    pthread_mutex_destroy(&inbox->lock);
}

static bool admit(struct sky_inbox *inbox, const struct sky_packet *packet)
{
    if (inbox->is_closed) {
        inbox->late++;
        return false;
    }
    if (inbox->packets.bytes + sky_packet_cost(packet) > inbox->max_bytes) {
        inbox->refused++;
        return false;
    }
    inbox->taken++;
    if (inbox->mirror != NULL)
        atomic_store_explicit(inbox->mirror, inbox->taken, memory_order_relaxed);
    return true;
}

bool sky_inbox_put(struct sky_inbox *inbox, struct sky_packet *packet)
{
    pthread_mutex_lock(&inbox->lock);
    bool is_admitted = admit(inbox, packet);
    if (is_admitted)
        sky_packets_add(&inbox->packets, packet);
    bool is_high = inbox->packets.bytes > inbox->max_bytes / 2;
    pthread_mutex_unlock(&inbox->lock);
    if (!is_admitted)
        free(packet);
    return is_high;
}

struct sky_packets sky_inbox_empty(struct sky_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    struct sky_packets packets = inbox->packets;
    inbox->packets = (struct sky_packets){0};
    pthread_mutex_unlock(&inbox->lock);
    return packets;
}

void sky_inbox_close(struct sky_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->is_closed = true;
    pthread_mutex_unlock(&inbox->lock);
}

void sky_inbox_mirror(struct sky_inbox *inbox, _Atomic uint64_t *count)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->mirror = count;
    atomic_store_explicit(count, inbox->taken, memory_order_relaxed);
    pthread_mutex_unlock(&inbox->lock);
}

struct sky_inbox_totals sky_inbox_totals(struct sky_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    struct sky_inbox_totals totals = {inbox->taken, inbox->refused, inbox->late};
    pthread_mutex_unlock(&inbox->lock);
    return totals;
}

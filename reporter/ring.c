/* SPDX-License-Identifier: Apache-2.0 */
/* ck_ring with a bound in bytes. What the producer writes and what the consumer writes lie in cache
 * lines of their own. */
#include "reporter/ring.h"

#include <assert.h>
#include <ck_ring.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "reporter/packets.h"

#define CACHE_LINE 64

struct sky_ring {
    ck_ring_t ck;
    ck_ring_buffer_t *slots;
    size_t max_bytes;
    /* Written by the producer alone. */
    alignas(CACHE_LINE) _Atomic size_t pushed;
    _Atomic size_t pushed_bytes;
    _Atomic size_t refused;
    bool signalled; /* high water was reported and the ring has not been below it since */
    /* Written by the consumer alone. */
    alignas(CACHE_LINE) _Atomic size_t popped_bytes;
};

/* ck's barriers are inline assembly, which ThreadSanitizer does not see: it would call every reuse
 * of a slot a race. The hand-over of a packet's contents it does see, by way of `pushed`. */
__attribute__((no_sanitize("thread"))) static bool enqueue(struct sky_ring *ring,
                                                           const struct sky_packet *packet)
{
    return ck_ring_enqueue_spsc(&ring->ck, ring->slots, packet);
}

__attribute__((no_sanitize("thread"))) static bool dequeue(struct sky_ring *ring, void *packet)
{
    return ck_ring_dequeue_spsc(&ring->ck, ring->slots, packet);
}

/* For a single writer: cheaper than an atomic addition. */
static void add(_Atomic size_t *counter, size_t n, memory_order order)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, order);
}

struct sky_ring *sky_ring_new(size_t slots, size_t max_bytes)
{
    assert(slots >= 4 && (slots & (slots - 1)) == 0);
    struct sky_ring *ring = aligned_alloc(CACHE_LINE, sizeof(*ring));
    if (ring == NULL)
        return NULL;
    *ring = (struct sky_ring){.max_bytes = max_bytes};
    ring->slots = calloc(slots, sizeof(*ring->slots));
    if (ring->slots == NULL) {
        free(ring);
        return NULL;
    }
    ck_ring_init(&ring->ck, (unsigned)slots);
    return ring;
}

void sky_ring_destroy(struct sky_ring *ring)
{
    struct sky_packet *packet;

    if (ring == NULL)
        return;
    while ((packet = sky_ring_pop(ring)) != NULL)
        free(packet);
    free(ring->slots);
    free(ring);
}

static size_t bytes_inside(const struct sky_ring *ring)
{
    return atomic_load_explicit(&ring->pushed_bytes, memory_order_relaxed) -
           atomic_load_explicit(&ring->popped_bytes, memory_order_relaxed);
}

bool sky_ring_push(struct sky_ring *ring, struct sky_packet *packet)
{
    size_t cost = sky_packet_cost(packet);

    if (ck_ring_size(&ring->ck) + 1 >= ck_ring_capacity(&ring->ck) ||
        bytes_inside(ring) + cost > ring->max_bytes) {
        add(&ring->refused, 1, memory_order_relaxed);
        free(packet);
        return false;
    }
    add(&ring->pushed_bytes, cost, memory_order_relaxed);
    add(&ring->pushed, 1, memory_order_release);
    bool entered = enqueue(ring, packet);
    assert(entered);
    (void)entered;
    return true;
}

struct sky_packet *sky_ring_pop(struct sky_ring *ring)
{
    struct sky_packet *packet;

    if (!dequeue(ring, &packet))
        return NULL;
    atomic_load_explicit(&ring->pushed, memory_order_acquire);
    add(&ring->popped_bytes, sky_packet_cost(packet), memory_order_relaxed);
    return packet;
}

bool sky_ring_high_water(struct sky_ring *ring)
{
    bool is_high = ck_ring_size(&ring->ck) >= ck_ring_capacity(&ring->ck) / 2 ||
                   bytes_inside(ring) >= ring->max_bytes / 2;
    bool is_news = is_high && !ring->signalled;

    ring->signalled = is_high;
    return is_news;
}

size_t sky_ring_pushed(const struct sky_ring *ring)
{
    return atomic_load_explicit(&ring->pushed, memory_order_relaxed);
}

size_t sky_ring_refused(const struct sky_ring *ring)
{
    return atomic_load_explicit(&ring->refused, memory_order_relaxed);
}

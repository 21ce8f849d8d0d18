/* SPDX-License-Identifier: Apache-2.0 */
/* Two counts that only grow, one written by each side, over an array of pointers. C11 atomics
 * rather than ck_ring: its barriers are inline assembly, which ThreadSanitizer cannot follow, and
 * this hand-over between threads is what it is there to check. */
#include "reporter/ring.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "reporter/packets.h"

/* Each side's counts lie in a cache line of their own; the producer reads the consumer's only when
 * those it has seen leave no room. */
#define CACHE_LINE 64

struct sky_ring {
    size_t slot_count; /* a power of two */
    size_t max_bytes;
    struct sky_packet **slots;
    /* Written by the producer alone. */
    alignas(CACHE_LINE) _Atomic size_t pushed;
    _Atomic size_t refused;
    size_t pushed_bytes;
    size_t popped_seen, popped_bytes_seen;
    bool is_high; /* as of the last question */
    _Atomic(_Atomic uint64_t *) mirror;
    /* Written by the consumer alone. */
    alignas(CACHE_LINE) _Atomic size_t popped;
    _Atomic size_t popped_bytes;
};

struct sky_ring *sky_ring_new(size_t slots, size_t max_bytes)
{
    assert(slots >= 2 && (slots & (slots - 1)) == 0);
    struct sky_ring *ring = aligned_alloc(CACHE_LINE, sizeof(*ring));
    if (ring == NULL)
        return NULL;
    *ring = (struct sky_ring){.slot_count = slots, .max_bytes = max_bytes};
    ring->slots = calloc(slots, sizeof(struct sky_packet *));
    if (ring->slots == NULL) {
        free(ring);
        return NULL;
    }
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

static bool fits_as_seen(const struct sky_ring *ring, size_t pushed, size_t slots, size_t bytes)
{
    return pushed - ring->popped_seen < slots &&
           ring->pushed_bytes - ring->popped_bytes_seen < bytes;
}

/* Whether fewer than so many slots and bytes are in use. Producer's thread. */
static bool fits(struct sky_ring *ring, size_t pushed, size_t slots, size_t bytes)
{
    if (fits_as_seen(ring, pushed, slots, bytes))
        return true;
    /* Acquire: the consumer has read a slot before the producer fills it again. */
    ring->popped_seen = atomic_load_explicit(&ring->popped, memory_order_acquire);
    ring->popped_bytes_seen = atomic_load_explicit(&ring->popped_bytes, memory_order_relaxed);
    return fits_as_seen(ring, pushed, slots, bytes);
}

bool sky_ring_push(struct sky_ring *ring, struct sky_packet *packet)
{
    size_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    size_t cost = sky_packet_cost(packet);

    if (cost > ring->max_bytes ||
        !fits(ring, pushed, ring->slot_count, ring->max_bytes - cost + 1)) {
        size_t refused = atomic_load_explicit(&ring->refused, memory_order_relaxed);
        atomic_store_explicit(&ring->refused, refused + 1, memory_order_relaxed);
        free(packet);
        return false;
    }
    ring->slots[pushed & (ring->slot_count - 1)] = packet;
    ring->pushed_bytes += cost;
    atomic_store_explicit(&ring->pushed, pushed + 1, memory_order_release);
    _Atomic uint64_t *mirror = atomic_load_explicit(&ring->mirror, memory_order_acquire);
    if (mirror != NULL)
        atomic_store_explicit(mirror, pushed + 1, memory_order_relaxed);
    return true;
}

/* The exchange fails when the producer has stored a newer number meanwhile. One that is pushing
 * just now may be missed until it pushes again. */
void sky_ring_mirror(struct sky_ring *ring, _Atomic uint64_t *count)
{
    uint64_t none = 0;

    atomic_store(&ring->mirror, count);
    if (count != NULL)
        atomic_compare_exchange_strong(count, &none, atomic_load(&ring->pushed));
}

struct sky_packet *sky_ring_pop(struct sky_ring *ring)
{
    size_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);

    if (popped == atomic_load_explicit(&ring->pushed, memory_order_acquire))
        return NULL;
    struct sky_packet *packet = ring->slots[popped & (ring->slot_count - 1)];
    size_t bytes = atomic_load_explicit(&ring->popped_bytes, memory_order_relaxed);
    atomic_store_explicit(&ring->popped_bytes, bytes + sky_packet_cost(packet),
                          memory_order_relaxed);
    atomic_store_explicit(&ring->popped, popped + 1, memory_order_release);
    return packet;
}

bool sky_ring_high_water(struct sky_ring *ring)
{
    size_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    bool was_high = ring->is_high;

    ring->is_high = !fits(ring, pushed, ring->slot_count / 2, ring->max_bytes / 2);
    return ring->is_high && !was_high;
}

size_t sky_ring_pushed(const struct sky_ring *ring)
{
    return atomic_load_explicit(&ring->pushed, memory_order_relaxed);
}

size_t sky_ring_refused(const struct sky_ring *ring)
{
    return atomic_load_explicit(&ring->refused, memory_order_relaxed);
}

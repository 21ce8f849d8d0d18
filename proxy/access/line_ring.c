/* SPDX-License-Identifier: Apache-2.0 */
/* Two counts of bytes that only grow, one written by each side, as in reporter/ring.c. */
#include "proxy/access/line_ring.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Each side's count lies in a cache line of its own. */
#define CACHE_LINE 64

struct sky_line_ring {
    size_t size;
    char *bytes;
    /* Written by the producer alone. */
    alignas(CACHE_LINE) _Atomic size_t pushed;
    size_t popped_seen;
    /* Written by the consumer alone. */
    alignas(CACHE_LINE) _Atomic size_t popped;
};

struct sky_line_ring *sky_line_ring_new(size_t bytes)
{
    struct sky_line_ring *ring = aligned_alloc(CACHE_LINE, sizeof(*ring));
    if (ring == NULL)
        return NULL;
    *ring = (struct sky_line_ring){.size = bytes, .bytes = malloc(bytes)};
    if (ring->bytes == NULL) {
        free(ring);
        return NULL;
    }
    return ring;
}

void sky_line_ring_destroy(struct sky_line_ring *ring)
{
    if (ring == NULL)
        return;
    free(ring->bytes);
    free(ring);
}

bool sky_line_ring_push(struct sky_line_ring *ring, struct sky_text line)
{
    size_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    if (ring->size - (pushed - ring->popped_seen) < line.len) {
        /* Acquire: the consumer has read the bytes before they are written over. */
        ring->popped_seen = atomic_load_explicit(&ring->popped, memory_order_acquire);
        if (ring->size - (pushed - ring->popped_seen) < line.len)
            return false;
    }
    size_t at = pushed % ring->size;
    size_t first = line.len < ring->size - at ? line.len : ring->size - at;
    memcpy(ring->bytes + at, line.base, first);
    memcpy(ring->bytes, line.base + first, line.len - first);
    /* Sequentially consistent: the producer looks next whether the consumer sleeps, and the
     * consumer, before it sleeps, whether something was pushed. */
    atomic_store(&ring->pushed, pushed + line.len);
    return true;
}

bool sky_line_ring_is_high(struct sky_line_ring *ring)
{
    size_t pushed = atomic_load_explicit(&ring->pushed, memory_order_relaxed);
    if (pushed - ring->popped_seen > ring->size / 2)
        ring->popped_seen = atomic_load_explicit(&ring->popped, memory_order_acquire);
    return pushed - ring->popped_seen > ring->size / 2;
}

int sky_line_ring_peek(const struct sky_line_ring *ring, struct iovec pieces[2])
{
    size_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);
    size_t used = atomic_load(&ring->pushed) - popped;
    size_t at = popped % ring->size;
    size_t first = used < ring->size - at ? used : ring->size - at;
    pieces[0] = (struct iovec){ring->bytes + at, first};
    pieces[1] = (struct iovec){ring->bytes, used - first};
    return used == 0 ? 0 : used == first ? 1 : 2;
}

void sky_line_ring_pop(struct sky_line_ring *ring, size_t bytes)
{
    size_t popped = atomic_load_explicit(&ring->popped, memory_order_relaxed);
    atomic_store_explicit(&ring->popped, popped + bytes, memory_order_release);
}

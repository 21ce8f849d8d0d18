/* SPDX-License-Identifier: Apache-2.0 */
/* Packed segments on their way from one worker thread to the reporter thread: one producer, one
 * consumer, no lock, no system call. */
#ifndef SKY_REPORTER_RING_H
#define SKY_REPORTER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reporter/segment.h"

struct sky_ring;

/* sky_ring_new: `slots` is a power of two; it holds `slots` packets and at most max_bytes of
 * them. NULL when memory is out. */
struct sky_ring *sky_ring_new(size_t slots, size_t max_bytes);

/* sky_ring_destroy: frees what is still in it. No thread may use the ring any more. */
void sky_ring_destroy(struct sky_ring *ring);

/* sky_ring_push: producer's thread only. Takes the packet over; when the ring is full the packet is
 * freed and counted, and false returned. */
bool sky_ring_push(struct sky_ring *ring, struct sky_packet *packet);

/* sky_ring_pop: consumer's thread only. The packet is the caller's; NULL when the ring is empty. */
struct sky_packet *sky_ring_pop(struct sky_ring *ring);

/* sky_ring_high_water: true once when the ring has become half full since it was last drained: the
 * producer then wakes the reporter. Producer's thread only. */
bool sky_ring_high_water(struct sky_ring *ring);

/* sky_ring_mirror: from now on the number of packets pushed is kept in *count too, which outlives
 * the ring; NULL: no more. Any one thread. */
void sky_ring_mirror(struct sky_ring *ring, _Atomic uint64_t *count);

/* Totals, any thread: packets pushed, packets refused because the ring was full. */
size_t sky_ring_pushed(const struct sky_ring *ring);
size_t sky_ring_refused(const struct sky_ring *ring);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of text on their way from one worker thread to the thread that writes the access log: one
 * producer, one consumer, no lock, no system call, and a bound in bytes. */
#ifndef SKY_PROXY_ACCESS_LINE_RING_H
#define SKY_PROXY_ACCESS_LINE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "propagation/text.h"

struct sky_line_ring;

/* sky_line_ring_new: holds `bytes` bytes. NULL when memory is out. */
struct sky_line_ring *sky_line_ring_new(size_t bytes);

void sky_line_ring_destroy(struct sky_line_ring *ring);

/* sky_line_ring_push: producer's thread only. Copies the line, whole or, false, not at all. */
bool sky_line_ring_push(struct sky_line_ring *ring, struct sky_text line);

/* sky_line_ring_is_high: whether more than half is in use. Producer's thread only. */
bool sky_line_ring_is_high(struct sky_line_ring *ring);

/* sky_line_ring_peek: consumer's thread only. What has been pushed, whole lines, in up to two
 * pieces; returns how many pieces. They are valid until sky_line_ring_pop. */
int sky_line_ring_peek(const struct sky_line_ring *ring, struct iovec pieces[2]);

/* sky_line_ring_pop: consumer's thread only. Gives up so many bytes of what was peeked. */
void sky_line_ring_pop(struct sky_line_ring *ring, size_t bytes);

#endif

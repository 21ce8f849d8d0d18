/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that no backend has confirmed yet, oldest first, in bounded memory. What a call holds is
 * out of the queue and so cannot be dropped under its feet, but it counts against the bound. One
 * thread. */
#ifndef SKY_REPORTER_BACKLOG_H
#define SKY_REPORTER_BACKLOG_H

#include <stddef.h>

#include "reporter/packets.h"

/* Zero-initialised but for max_bytes. */
struct sky_backlog {
    size_t max_bytes;
    struct sky_packets queue;
    size_t taken_count, taken_bytes; /* held by calls */
};

/* sky_backlog_add: takes the packet over; the oldest of the queue make room for it, and the packet
 * itself goes when calls hold all the room. Returns how many were dropped. */
size_t sky_backlog_add(struct sky_backlog *backlog, struct sky_packet *packet);

/* sky_backlog_take: moves the oldest to the empty list `batch`: at most max_count, and not more
 * than max_bytes, but at least one. */
void sky_backlog_take(struct sky_backlog *backlog, size_t max_count, size_t max_bytes,
                      struct sky_packets *batch);

/* sky_backlog_pull: moves the oldest of the queue behind those of `packets`, until they are
 * max_bytes or more, or the queue is empty. They are not the backlog's any more. */
void sky_backlog_pull(struct sky_backlog *backlog, size_t max_bytes, struct sky_packets *packets);

/* sky_backlog_return: puts a batch back before everything else, to be sent again. */
void sky_backlog_return(struct sky_backlog *backlog, struct sky_packets *batch);

/* sky_backlog_release: frees a batch that is done with. Returns how many segments it had. */
size_t sky_backlog_release(struct sky_backlog *backlog, struct sky_packets *batch);

/* What is held in all. */
size_t sky_backlog_count(const struct sky_backlog *backlog);
size_t sky_backlog_bytes(const struct sky_backlog *backlog);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that come from other threads than workers: bounded, under a lock. Any thread. */
#ifndef SKY_REPORTER_INBOX_H
#define SKY_REPORTER_INBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "reporter/packets.h"

struct sky_inbox {
    pthread_mutex_t lock;
    struct sky_packets packets;
    size_t max_bytes;
    uint64_t taken, refused, late;
    _Atomic uint64_t *mirror; /* of taken; NULL: none */
    bool is_closed;
};

void sky_inbox_init(struct sky_inbox *inbox, size_t max_bytes);
void sky_inbox_fini(struct sky_inbox *inbox);

/* sky_inbox_put: takes the packet over; freed and counted when there is no room, or it is closed.
 * Returns whether the inbox should be emptied soon. */
bool sky_inbox_put(struct sky_inbox *inbox, struct sky_packet *packet);

/* sky_inbox_empty: all that is in it, the caller's. */
struct sky_packets sky_inbox_empty(struct sky_inbox *inbox);

/* sky_inbox_close: what comes from now on is late. */
void sky_inbox_close(struct sky_inbox *inbox);

/* sky_inbox_mirror: from now on the number of packets taken is kept in *count too. */
void sky_inbox_mirror(struct sky_inbox *inbox, _Atomic uint64_t *count);

struct sky_inbox_totals {
    uint64_t taken, refused, late; /* each packet put is one of these */
};

struct sky_inbox_totals sky_inbox_totals(struct sky_inbox *inbox);

#endif

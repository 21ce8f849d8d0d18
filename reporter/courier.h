/* SPDX-License-Identifier: Apache-2.0 */
/* Takes to the backends what is reported beside segments: log records, events and meters. They
 * share transport and backends with the segments, but have a queue of their own: a flood of logs
 * costs no segment.
 *
 * offer, takes and counts: any thread. All else: reporter thread only. */
#ifndef SKY_REPORTER_COURIER_H
#define SKY_REPORTER_COURIER_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/packets.h"
#include "reporter/reporter.h"
#include "reporter/standing.h"
#include "reporter/tally.h"
#include "reporter/transport.h"

struct sky_courier;

/* All borrowed, from sky_courier_attach on for the courier's life. */
struct sky_courier_way {
    const struct sky_transport_ops *ops;
    struct sky_transport *transport;
    struct sky_standing *standing;
    size_t batch_bytes; /* of one call */
    int64_t (*now_ms)(void);
};

/* sky_courier_new: holds at most max_bytes; sends nothing yet. NULL when memory is out. */
struct sky_courier *sky_courier_new(size_t max_bytes, struct sky_tally *tally);

/* sky_courier_destroy: no call may be under way any more. NULL is fine. */
void sky_courier_destroy(struct sky_courier *courier);

/* sky_courier_offer: takes a packet over; when there is no room it is freed and counted. Returns
 * whether the thread should be woken, since half of the room is used. */
bool sky_courier_offer(struct sky_courier *courier, struct sky_packet *packet);

/* sky_courier_add_counts: what offer has counted. */
void sky_courier_add_counts(struct sky_courier *courier, struct sky_reporter_counters *counters);

/* sky_courier_gather: what was offered is queued. */
void sky_courier_gather(struct sky_courier *courier);

/* sky_courier_take_properties: the newest offered InstanceProperties, now the caller's; NULL when
 * none came since the last question. */
struct sky_packet *sky_courier_take_properties(struct sky_courier *courier);

void sky_courier_attach(struct sky_courier *courier, const struct sky_courier_way *way);

/* sky_courier_run: starts a call if there is something to send and none is under way. */
void sky_courier_run(struct sky_courier *courier);

bool sky_courier_is_busy(const struct sky_courier *courier);

/* sky_courier_count: log records and events that are not confirmed yet. */
size_t sky_courier_count(const struct sky_courier *courier);

/* sky_courier_detach: ends the call under way; its records are in the queue again. */
void sky_courier_detach(struct sky_courier *courier);

/* sky_courier_give_up: frees what is queued, counted as dropped at the stop. */
void sky_courier_give_up(struct sky_courier *courier);

#endif

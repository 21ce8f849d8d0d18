/* SPDX-License-Identifier: Apache-2.0 */
/* Takes batches from the backlog, sends them by a transport, and decides from each answer what
 * becomes of them; tells backends who we are. Reporter thread only; the clock is the caller's. */
#ifndef SKY_REPORTER_SENDER_H
#define SKY_REPORTER_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/backlog.h"
#include "reporter/reporter.h"
#include "reporter/status.h"
#include "reporter/tally.h"
#include "reporter/transport.h"

/* All borrowed for the sender's life. */
struct sky_sender_parts {
    const struct sky_reporter_options *options; /* at least one backend */
    const struct sky_transport_ops *ops;
    struct sky_backlog *backlog;
    struct sky_backlog
        *readback; /* from the spool: sent as they are there, and after the backlog */
    struct sky_tally *tally;
    struct sky_status *status;
    int64_t (*now_ms)(void);     /* monotonic */
    struct sky_courier *courier; /* NULL: segments and signs of life are all there is */
};

struct sky_courier;
struct sky_sender;

/* sky_sender_new: creates the transport. NULL when memory is out. */
struct sky_sender *sky_sender_new(const struct sky_sender_parts *parts);

/* sky_sender_flush: all that is in the backlog now goes out, as a small batch too. */
void sky_sender_flush(struct sky_sender *sender);

/* sky_sender_run: starts the calls that may start now. Returns when it wants to run again although
 * no call has ended, in the caller's time; INT64_MAX: not by itself. */
int64_t sky_sender_run(struct sky_sender *sender);

/* sky_sender_waits_for_records: whether there are log records or events that a backend, which as
 * far as known works, has not confirmed yet. */
bool sky_sender_waits_for_records(const struct sky_sender *sender);

/* sky_sender_wait: moves calls on, at most that long. Returns whether wake_fd is readable. */
bool sky_sender_wait(struct sky_sender *sender, int wake_fd, int timeout_ms);

/* sky_sender_is_up: a backend answered the last call. */
bool sky_sender_is_up(const struct sky_sender *sender);

/* sky_sender_is_away: calls fail, and none has been answered since. */
bool sky_sender_is_away(const struct sky_sender *sender);

/* sky_sender_finish: from now on only segments of the backlog and records are sent, at once, and
 * all of them. */
void sky_sender_finish(struct sky_sender *sender);

/* sky_sender_destroy: ends calls under way; their segments are where they came from again. */
void sky_sender_destroy(struct sky_sender *sender);

#endif

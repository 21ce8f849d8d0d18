/* SPDX-License-Identifier: Apache-2.0 */
/* What a sender consists of; for sender.c and sender_settle.c alone. */
#ifndef SKY_REPORTER_SENDER_INSIDE_H
#define SKY_REPORTER_SENDER_INSIDE_H

#include "reporter/heartbeat.h"
#include "reporter/log.h"
#include "reporter/sender.h"
#include "reporter/standing.h"

/* OAP up to 9.7 takes four calls at a time on a connection; one is for the heartbeat. */
#define MAX_BATCHES 3
#define MAX_CALLS (MAX_BATCHES + 1)
/* Searches for poison are limited, or a backend that refuses everything would cost a call a
 * segment: so many halvings at once, and then some a second. */
#define MAX_HALVINGS 64

/* Where batches come from. */
struct sky_sender_source {
    struct sky_backlog *backlog;
    /* The first so many of it have poison among them, as far as known. */
    size_t suspect_count;
};

struct sky_sender_slot {
    struct sky_call call;
    struct sky_sender *sender;
    struct sky_sender_source *source; /* of the call's segments */
    int64_t started_ms;
    bool is_busy;
    bool is_probe; /* whether the preferred backend works again: tells nothing of the current one */
    unsigned epoch; /* of the backends, at start */
};

struct sky_sender {
    struct sky_sender_parts parts;
    struct sky_transport *transport;
    struct sky_standing standing;
    struct sky_sender_slot slots[MAX_CALLS]; /* the first is for the heartbeat */
    size_t batch_bytes;                      /* now; halved when late */
    size_t most_batch_bytes;
    struct sky_sender_source live, readback;
    unsigned halvings;
    int64_t halvings_at_ms; /* when `halvings` was last topped up */
    bool is_flushing, is_finishing;
    struct sky_heartbeat heartbeat;
    struct sky_log_limit refused_limit, unclear_limit;
};

static inline const char *sky_sender_backend(const struct sky_sender *sender, size_t backend)
{
    return sender->parts.options->backends[backend];
}

static inline size_t sky_sender_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The call of a batch has ended: its segments are freed and counted, or go back to their source. */
void sky_sender_settle(struct sky_call *call);

/* Of a call that is cancelled: what the transport heard of single segments. */
void sky_sender_settle_single(struct sky_sender_slot *slot);

/* Of a call that brought no answer: the next backend, a pause, the log. */
void sky_sender_note_failure(struct sky_sender *sender, const struct sky_sender_slot *slot);

#endif

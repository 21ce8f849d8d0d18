/* SPDX-License-Identifier: Apache-2.0 */
/* The spool: packets on disk, for when memory is full and for after the process. A thread of its
 * own writes and reads, so that a slow disk delays neither requests nor calls to backends; the
 * reporter thread hands lists of packets over and takes lists back, under a lock that is never held
 * while the disk is waited for.
 *
 * Files are written at their end and read in the order of their numbers. When reporter.spool.max is
 * reached the oldest file goes, counted. What was read back stays on disk until it is settled.
 *
 * Life: new -> start -> (put, take, settle) -> stop -> destroy. */
#ifndef SKY_REPORTER_SPOOL_SPOOL_H
#define SKY_REPORTER_SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reporter/packets.h"
#include "reporter/spool/page.h"

enum sky_spool_sync { SKY_SPOOL_SYNC_INTERVAL, SKY_SPOOL_SYNC_NEVER, SKY_SPOOL_SYNC_ALWAYS };

struct sky_spool_settings {
    const char *path; /* borrowed */
    uint64_t max_bytes;
    size_t pending_bytes; /* of packets handed over and not yet written */
    size_t chunk_bytes;   /* of packets read back at a time */
    enum sky_spool_sync sync;
    size_t maker_count; /* of the page */
    /* Called by the spool's thread when there is something to take, or room again. */
    void (*wake)(void *argument);
    void *wake_argument;
};

struct sky_spool;

/* sky_spool_new: does nothing yet. NULL when memory is out. */
struct sky_spool *sky_spool_new(const struct sky_spool_settings *settings);

/* sky_spool_start: starts the thread, which opens the folder, now or when it can. 0 or an errno
 * value. */
int sky_spool_start(struct sky_spool *spool) __attribute__((warn_unused_result));

/* The next four: reporter thread. */

/* sky_spool_has_room: whether packets may be put: the folder is open, the disk takes them, and the
 * thread is not behind. */
bool sky_spool_has_room(struct sky_spool *spool);

/* sky_spool_put: takes all packets over; the list is empty after. */
void sky_spool_put(struct sky_spool *spool, struct sky_packets *packets);

/* sky_spool_take: moves the oldest that are on disk to the empty list. false: nothing is read yet;
 * wake will be called if there is something. What was taken before must be settled. */
bool sky_spool_take(struct sky_spool *spool, struct sky_packets *packets);

/* sky_spool_settle: what was taken need not be read again. */
void sky_spool_settle(struct sky_spool *spool);

/* sky_spool_page: the page of counts, once the folder is open; NULL before. Any thread. */
struct sky_page *sky_spool_page(struct sky_spool *spool);

/* sky_spool_stop: writes what was put, until deadline_ms (CLOCK_MONOTONIC), closes everything and
 * joins the thread. `unsettled`: packets that were taken and are not settled: they are in the spool
 * again. Returns how many packets could not be written. Reporter thread. */
size_t sky_spool_stop(struct sky_spool *spool, int64_t deadline_ms, size_t unsettled);

struct sky_spool_totals {
    uint64_t packets;            /* waiting to be written, on disk, or read and not taken */
    uint64_t on_disk, bytes;     /* of those, on disk; of all files */
    uint64_t found;              /* on disk when the folder was opened */
    uint64_t written, read;      /* packets */
    uint64_t dropped_full;       /* with the oldest file */
    uint64_t dropped_unreadable; /* damaged on disk */
    uint64_t dropped_failed;     /* could not be written until the stop */
    uint64_t failures;           /* of the disk */
    uint64_t lost;               /* by a process that was killed */
    bool is_open, is_failing;
};

/* sky_spool_totals: any thread. */
void sky_spool_totals(struct sky_spool *spool, struct sky_spool_totals *totals);

void sky_spool_destroy(struct sky_spool *spool);

#endif

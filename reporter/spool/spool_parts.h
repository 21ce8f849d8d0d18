/* SPDX-License-Identifier: Apache-2.0 */
/* What a spool consists of; for spool.c and spool_thread.c alone. */
#ifndef SKY_REPORTER_SPOOL_SPOOL_PARTS_H
#define SKY_REPORTER_SPOOL_SPOOL_PARTS_H

#include <pthread.h>
#include <time.h>

#include "reporter/spool/spool.h"
#include "reporter/spool/store.h"

#define SKY_SPOOL_FIRST_PAUSE_MS 500 /* after a write that failed */

struct sky_spool {
    struct sky_spool_settings settings;
    pthread_t thread;
    bool is_started, is_abandoned;
    _Atomic(struct sky_page *) page;
    /* Of the thread alone. */
    struct {
        struct sky_store store;
        bool is_open, is_dirty, is_wake_due;
        bool is_last_try_over; /* of opening or writing, at the stop */
        int64_t next_open_ms, next_write_ms, next_read_ms, next_sync_ms;
        int64_t write_pause_ms;
        uint64_t dropped_failed, failures, unwritten; /* the last: sent from memory */
        char said[200];                               /* why the folder is not open */
        char news[100];                               /* for the log, once the lock is let go */
    } own;
    /* Under the lock. */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct sky_packets pending; /* put, not yet written */
        size_t writing_count, writing_bytes;
        struct sky_packets chunk; /* read, not yet taken */
        uint64_t chunk_position, taken_position, settled_position;
        bool is_wanted, is_settle_due;
        uint64_t unsettled; /* taken, and given back at the stop */
        struct sky_spool_totals totals;
        bool is_stopping;
        int64_t stop_at_ms;
    } shared;
};

static inline int64_t sky_spool_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* sky_spool_run: the thread. */
void *sky_spool_run(void *spool);

/* sky_spool_close_locked: the thread's end, also of one that never began. */
void sky_spool_close_locked(struct sky_spool *spool);

#endif

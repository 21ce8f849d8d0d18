/* SPDX-License-Identifier: Apache-2.0 */
/* The thread and what it shares.
 *
 * Happy path: open the folder -> (put -> write) -> (take -> read the next chunk ahead) -> settle ->
 * stop: write what is left, close.
 *
 * Failures:
 * - the folder cannot be opened, or another process has it: said once, tried again; until then
 * there is no room, and the backlog does as without a spool.
 * - a write fails (disk full, I/O error): counted, said once; what was put waits in memory and is
 *   tried again with a growing pause; there is no room meanwhile, and once the disk has nothing
 * more to send it goes out from memory.
 * - the disk hangs: only this thread waits; at the stop it is left behind when the deadline has
 *   passed. */
#include "reporter/spool/spool.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reporter/log.h"
#include "reporter/spool/store.h"

#define OPEN_PAUSE_MS 1000
#define FIRST_WRITE_PAUSE_MS 500
#define LONGEST_WRITE_PAUSE_MS 30000
#define READ_PAUSE_MS 5000
#define SYNC_INTERVAL_MS 1000
/* A disk that answers at the very deadline is still waited for. */
#define GRACE_MS 200

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

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct sky_spool *sky_spool_new(const struct sky_spool_settings *settings)
{
    struct sky_spool *spool = calloc(1, sizeof(*spool));
    pthread_condattr_t monotonic;

    if (spool == NULL)
        return NULL;
    spool->settings = *settings;
    spool->own.write_pause_ms = FIRST_WRITE_PAUSE_MS;
    pthread_mutex_init(&spool->shared.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->shared.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return spool;
}

/* The thread. Functions with "locked" in their name are called with the lock held, and let go of it
 * for each call to the store. */

static void publish_locked(struct sky_spool *spool)
{
    const struct sky_store *store = &spool->own.store;
    struct sky_spool_totals *totals = &spool->shared.totals;

    if (!spool->own.is_open)
        return;
    totals->on_disk = store->records;
    totals->bytes = store->bytes;
    totals->dropped_full = store->dropped_full;
    totals->dropped_unreadable = store->dropped_unreadable;
    totals->dropped_failed = spool->own.dropped_failed;
    totals->failures = spool->own.failures;
    struct sky_page *page = atomic_load_explicit(&spool->page, memory_order_relaxed);
    sky_page_store(&page->spooled, totals->written + totals->dropped_failed + spool->own.unwritten);
}

static void open_locked(struct sky_spool *spool)
{
    const struct sky_spool_settings *settings = &spool->settings;
    struct sky_page_legacy legacy;
    char error[200];

    spool->own.next_open_ms = now_ms() + OPEN_PAUSE_MS;
    spool->own.is_last_try_over = spool->shared.is_stopping;
    pthread_mutex_unlock(&spool->shared.lock);
    bool is_open = sky_store_open(&spool->own.store, settings->path, settings->max_bytes,
                                  settings->maker_count, &legacy, error, sizeof(error));
    if (!is_open && strcmp(error, spool->own.said) != 0) {
        strcpy(spool->own.said, error);
        sky_log(SKY_LOG_WARN,
                "reporter.spool.path: %s; segments stay in memory until it can be used", error);
    }
    if (is_open && (spool->own.said[0] != '\0' || spool->own.store.records > 0))
        sky_log(SKY_LOG_INFO, "reporter.spool.path: %s is in use, with %llu segments to send",
                settings->path, (unsigned long long)spool->own.store.records);
    if (is_open && legacy.lost > 0)
        sky_log(
            SKY_LOG_WARN,
            "reporter: %llu segments were in the memory of a process that was killed, and are lost",
            (unsigned long long)legacy.lost);
    pthread_mutex_lock(&spool->shared.lock);
    if (!is_open)
        return;
    spool->own.store.syncs = settings->sync != SKY_SPOOL_SYNC_NEVER;
    spool->own.is_open = true;
    spool->own.is_last_try_over = false;
    spool->own.is_wake_due = true;
    spool->shared.totals.is_open = true;
    spool->shared.totals.found = spool->own.store.records;
    spool->shared.totals.lost = legacy.lost;
    atomic_store_explicit(&spool->page, spool->own.store.page, memory_order_release);
    publish_locked(spool);
}

static void note_write(struct sky_spool *spool, int error)
{
    struct sky_spool_totals *totals = &spool->shared.totals;
    int64_t *pause = &spool->own.write_pause_ms;

    if (error == 0) {
        if (totals->is_failing) {
            sky_log(SKY_LOG_INFO, "reporter: the spool can be written again");
            spool->own.is_wake_due = true;
        }
        totals->is_failing = false;
        *pause = FIRST_WRITE_PAUSE_MS;
        return;
    }
    spool->own.failures++;
    if (!totals->is_failing)
        sky_log(SKY_LOG_WARN, "reporter: cannot write to the spool, segments stay in memory: %s",
                strerror(error));
    totals->is_failing = true;
    spool->own.next_write_ms = now_ms() + *pause;
    *pause = *pause * 2 < LONGEST_WRITE_PAUSE_MS ? *pause * 2 : LONGEST_WRITE_PAUSE_MS;
}

static void write_locked(struct sky_spool *spool)
{
    struct sky_packets packets = spool->shared.pending;
    size_t count = packets.count;

    spool->shared.pending = (struct sky_packets){0};
    spool->shared.writing_count = count;
    spool->shared.writing_bytes = packets.bytes;
    spool->own.is_last_try_over = spool->shared.is_stopping;
    pthread_mutex_unlock(&spool->shared.lock);
    int error = sky_store_write(&spool->own.store, &packets);
    if (error == 0 && spool->settings.sync == SKY_SPOOL_SYNC_ALWAYS)
        error = sky_store_sync(&spool->own.store);
    spool->own.is_dirty = true;
    pthread_mutex_lock(&spool->shared.lock);
    spool->shared.writing_count = spool->shared.writing_bytes = 0;
    spool->shared.totals.written += count - packets.count;
    sky_packets_prepend(&spool->shared.pending, &packets);
    note_write(spool, error);
}

static void sync_locked(struct sky_spool *spool)
{
    spool->own.next_sync_ms = now_ms() + SYNC_INTERVAL_MS;
    spool->own.is_dirty = false;
    pthread_mutex_unlock(&spool->shared.lock);
    int error = sky_store_sync(&spool->own.store);
    pthread_mutex_lock(&spool->shared.lock);
    if (error != 0)
        note_write(spool, error);
}

static void settle_locked(struct sky_spool *spool)
{
    uint64_t position = spool->shared.settled_position;

    spool->shared.is_settle_due = false;
    pthread_mutex_unlock(&spool->shared.lock);
    sky_store_settle(&spool->own.store, position);
    pthread_mutex_lock(&spool->shared.lock);
}

static void read_locked(struct sky_spool *spool)
{
    static struct sky_log_limit limit;
    struct sky_packets packets = {0};
    uint64_t position = 0;

    pthread_mutex_unlock(&spool->shared.lock);
    int error = sky_store_read(&spool->own.store, spool->settings.chunk_bytes, &packets, &position);
    if (error != 0) {
        spool->own.failures++;
        spool->own.next_read_ms = now_ms() + READ_PAUSE_MS;
        sky_log_limited(&limit, SKY_LOG_WARN, "reporter: cannot read from the spool: %s",
                        strerror(error));
    }
    pthread_mutex_lock(&spool->shared.lock);
    if (packets.count == 0)
        return;
    spool->shared.totals.read += packets.count;
    spool->shared.chunk = packets;
    spool->shared.chunk_position = position;
    spool->own.is_wake_due = true;
}

/* What the disk does not take is taken back as if it had been there. */
static void return_pending_locked(struct sky_spool *spool)
{
    spool->shared.chunk = spool->shared.pending;
    spool->shared.pending = (struct sky_packets){0};
    spool->shared.chunk_position = spool->shared.taken_position;
    spool->own.unwritten += spool->shared.chunk.count;
    spool->own.is_wake_due = true;
}

/* The next chunk; false when there is none, or none before *until_ms. */
static bool fetch_locked(struct sky_spool *spool, int64_t now, int64_t *until_ms)
{
    if (spool->own.store.records == 0) {
        if (spool->shared.pending.count == 0)
            return false;
        return_pending_locked(spool);
        return true;
    }
    if (now < spool->own.next_read_ms) {
        *until_ms = spool->own.next_read_ms;
        return false;
    }
    read_locked(spool);
    return true;
}

/* What is due is done, one thing; returns false when nothing is, with the time of what will be. */
static bool work_locked(struct sky_spool *spool, int64_t *until_ms)
{
    int64_t now = now_ms();
    bool is_stopping = spool->shared.is_stopping;
    bool is_last_try = is_stopping && !spool->own.is_last_try_over;
    *until_ms = INT64_MAX;

    if (!spool->own.is_open) {
        if (now < spool->own.next_open_ms && !is_last_try) {
            *until_ms = spool->own.next_open_ms;
            return false;
        }
        open_locked(spool);
        return true;
    }
    if (spool->shared.pending.count > 0 && (now >= spool->own.next_write_ms || is_last_try)) {
        write_locked(spool);
        return true;
    }
    if (spool->shared.is_settle_due) {
        settle_locked(spool);
        return true;
    }
    if (!is_stopping && spool->shared.is_wanted && spool->shared.chunk.count == 0 &&
        fetch_locked(spool, now, until_ms))
        return true;
    bool syncs = spool->settings.sync == SKY_SPOOL_SYNC_INTERVAL && spool->own.is_dirty;
    if (syncs && now >= spool->own.next_sync_ms) {
        sync_locked(spool);
        return true;
    }
    if (syncs && spool->own.next_sync_ms < *until_ms)
        *until_ms = spool->own.next_sync_ms;
    if (spool->shared.pending.count > 0 && spool->own.next_write_ms < *until_ms)
        *until_ms = spool->own.next_write_ms;
    return false;
}

static void wait_locked(struct sky_spool *spool, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    if (until_ms == INT64_MAX)
        pthread_cond_wait(&spool->shared.changed, &spool->shared.lock);
    else
        pthread_cond_timedwait(&spool->shared.changed, &spool->shared.lock, &until);
}

/* Whether the thread may end: all is written, or there is no more use in trying. */
static bool is_over_locked(const struct sky_spool *spool)
{
    if (!spool->shared.is_stopping)
        return false;
    bool is_of_use = spool->own.is_open && !spool->shared.totals.is_failing;
    if (now_ms() >= spool->shared.stop_at_ms || (!is_of_use && spool->own.is_last_try_over))
        return true;
    return spool->shared.pending.count == 0 && !spool->shared.is_settle_due;
}

static void close_locked(struct sky_spool *spool)
{
    spool->own.dropped_failed = sky_packets_free(&spool->shared.pending);
    publish_locked(spool);
    spool->shared.totals.dropped_failed = spool->own.dropped_failed;
    if (!spool->own.is_open)
        return;
    pthread_mutex_unlock(&spool->shared.lock);
    if (spool->settings.sync != SKY_SPOOL_SYNC_NEVER && spool->own.is_dirty)
        (void)sky_store_sync(&spool->own.store);
    sky_store_close(&spool->own.store);
    pthread_mutex_lock(&spool->shared.lock);
}

static void *run(void *argument)
{
    struct sky_spool *spool = argument;
    int64_t until_ms;

    pthread_mutex_lock(&spool->shared.lock);
    while (!is_over_locked(spool)) {
        if (!work_locked(spool, &until_ms)) {
            wait_locked(spool, until_ms);
            continue;
        }
        publish_locked(spool);
        if (spool->own.is_wake_due)
            spool->settings.wake(spool->settings.wake_argument);
        spool->own.is_wake_due = false;
    }
    close_locked(spool);
    pthread_mutex_unlock(&spool->shared.lock);
    return NULL;
}

int sky_spool_start(struct sky_spool *spool)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&spool->thread, NULL, run, spool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_setname_np(spool->thread, "sky-spool");
        spool->is_started = true;
    }
    return error;
}

/* What the reporter thread calls. */

bool sky_spool_has_room(struct sky_spool *spool)
{
    pthread_mutex_lock(&spool->shared.lock);
    bool has_room =
        spool->shared.totals.is_open && !spool->shared.totals.is_failing &&
        spool->shared.pending.bytes + spool->shared.writing_bytes < spool->settings.pending_bytes;
    pthread_mutex_unlock(&spool->shared.lock);
    return has_room;
}

void sky_spool_put(struct sky_spool *spool, struct sky_packets *packets)
{
    pthread_mutex_lock(&spool->shared.lock);
    sky_packets_append(&spool->shared.pending, packets);
    pthread_cond_signal(&spool->shared.changed);
    pthread_mutex_unlock(&spool->shared.lock);
}

bool sky_spool_take(struct sky_spool *spool, struct sky_packets *packets)
{
    assert(packets->count == 0);
    pthread_mutex_lock(&spool->shared.lock);
    bool is_there = spool->shared.chunk.count > 0;
    if (is_there) {
        *packets = spool->shared.chunk;
        spool->shared.chunk = (struct sky_packets){0};
        spool->shared.taken_position = spool->shared.chunk_position;
    }
    if (is_there || !spool->shared.is_wanted)
        pthread_cond_signal(&spool->shared.changed);
    spool->shared.is_wanted = true;
    pthread_mutex_unlock(&spool->shared.lock);
    return is_there;
}

void sky_spool_settle(struct sky_spool *spool)
{
    pthread_mutex_lock(&spool->shared.lock);
    spool->shared.settled_position = spool->shared.taken_position;
    spool->shared.is_settle_due = true;
    pthread_cond_signal(&spool->shared.changed);
    pthread_mutex_unlock(&spool->shared.lock);
}

struct sky_page *sky_spool_page(struct sky_spool *spool)
{
    return atomic_load_explicit(&spool->page, memory_order_acquire);
}

void sky_spool_totals(struct sky_spool *spool, struct sky_spool_totals *totals)
{
    pthread_mutex_lock(&spool->shared.lock);
    *totals = spool->shared.totals;
    totals->packets = spool->shared.pending.count + spool->shared.writing_count +
                      spool->shared.chunk.count + spool->shared.unsettled + totals->on_disk;
    pthread_mutex_unlock(&spool->shared.lock);
}

static bool join(struct sky_spool *spool, int64_t deadline_ms)
{
    struct timespec until;
    int64_t left_ms = deadline_ms - now_ms();

    left_ms = (left_ms > 0 ? left_ms : 0) + GRACE_MS;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += left_ms / 1000;
    until.tv_nsec += left_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_timedjoin_np(spool->thread, NULL, &until) == 0;
}

size_t sky_spool_stop(struct sky_spool *spool, int64_t deadline_ms, size_t unsettled)
{
    pthread_mutex_lock(&spool->shared.lock);
    spool->shared.is_stopping = true;
    spool->shared.stop_at_ms = deadline_ms;
    spool->shared.unsettled = unsettled;
    if (!spool->is_started)
        close_locked(spool);
    pthread_cond_signal(&spool->shared.changed);
    pthread_mutex_unlock(&spool->shared.lock);
    if (!spool->is_started || join(spool, deadline_ms)) {
        spool->is_started = false;
        return spool->own.dropped_failed;
    }
    sky_log(SKY_LOG_WARN, "reporter: the spool's disk did not answer until the deadline");
    pthread_detach(spool->thread);
    spool->is_abandoned = true;
    pthread_mutex_lock(&spool->shared.lock);
    size_t left = spool->shared.pending.count + spool->shared.writing_count;
    pthread_mutex_unlock(&spool->shared.lock);
    return left;
}

/* One that was left behind still uses all of it; the process is about to end. */
void sky_spool_destroy(struct sky_spool *spool)
{
    if (spool == NULL || spool->is_abandoned)
        return;
    if (spool->is_started)
        sky_spool_stop(spool, now_ms(), 0);
    if (spool->is_abandoned)
        return;
    sky_packets_free(&spool->shared.pending);
    sky_packets_free(&spool->shared.chunk);
    sky_page_destroy(atomic_load_explicit(&spool->page, memory_order_relaxed));
    pthread_cond_destroy(&spool->shared.changed);
    pthread_mutex_destroy(&spool->shared.lock);
    free(spool);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the spool.
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
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/log.h"
#include "reporter/spool/spool_parts.h"

#define OPEN_PAUSE_MS 1000
#define LONGEST_WRITE_PAUSE_MS 30000
#define READ_PAUSE_MS 5000
#define SYNC_INTERVAL_MS 1000

/* Functions with "locked" in their name are called with the lock held, and let go of it
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

    spool->own.next_open_ms = sky_spool_now_ms() + OPEN_PAUSE_MS;
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
            snprintf(spool->own.news, sizeof(spool->own.news), "the spool can be written again");
            spool->own.is_wake_due = true;
        }
        totals->is_failing = false;
        *pause = SKY_SPOOL_FIRST_PAUSE_MS;
        return;
    }
    spool->own.failures++;
    if (!totals->is_failing)
        snprintf(spool->own.news, sizeof(spool->own.news),
                 "cannot write to the spool, segments stay in memory: %s", strerror(error));
    totals->is_failing = true;
    spool->own.next_write_ms = sky_spool_now_ms() + *pause;
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
    spool->own.next_sync_ms = sky_spool_now_ms() + SYNC_INTERVAL_MS;
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
        spool->own.next_read_ms = sky_spool_now_ms() + READ_PAUSE_MS;
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
    int64_t now = sky_spool_now_ms();
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
    if (sky_spool_now_ms() >= spool->shared.stop_at_ms ||
        (!is_of_use && spool->own.is_last_try_over))
        return true;
    return spool->shared.pending.count == 0 && !spool->shared.is_settle_due;
}

void sky_spool_close_locked(struct sky_spool *spool)
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

static void tell_locked(struct sky_spool *spool)
{
    bool is_wake_due = spool->own.is_wake_due;

    if (!is_wake_due && spool->own.news[0] == '\0')
        return;
    pthread_mutex_unlock(&spool->shared.lock);
    if (spool->own.news[0] != '\0')
        sky_log(SKY_LOG_WARN, "reporter: %s", spool->own.news);
    if (is_wake_due)
        spool->settings.wake(spool->settings.wake_argument);
    spool->own.news[0] = '\0';
    spool->own.is_wake_due = false;
    pthread_mutex_lock(&spool->shared.lock);
}

void *sky_spool_run(void *argument)
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
        tell_locked(spool);
    }
    sky_spool_close_locked(spool);
    pthread_mutex_unlock(&spool->shared.lock);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Making, ending, and what is handed over; the thread is in spool_thread.c. */
#include "reporter/spool/spool.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "reporter/log.h"
#include "reporter/spool/spool_parts.h"

/* A disk that answers at the very deadline is still waited for. */
#define GRACE_MS 200

struct sky_spool *sky_spool_new(const struct sky_spool_settings *settings)
{
    struct sky_spool *spool = calloc(1, sizeof(*spool));
    pthread_condattr_t monotonic;

    if (spool == NULL)
        return NULL;
    spool->settings = *settings;
    spool->own.write_pause_ms = SKY_SPOOL_FIRST_PAUSE_MS;
    pthread_mutex_init(&spool->shared.lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->shared.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return spool;
}

int sky_spool_start(struct sky_spool *spool)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&spool->thread, NULL, sky_spool_run, spool);
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
    int64_t left_ms = deadline_ms - sky_spool_now_ms();

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
        sky_spool_close_locked(spool);
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
        sky_spool_stop(spool, sky_spool_now_ms(), 0);
    if (spool->is_abandoned)
        return;
    sky_packets_free(&spool->shared.pending);
    sky_packets_free(&spool->shared.chunk);
    sky_page_destroy(atomic_load_explicit(&spool->page, memory_order_relaxed));
    pthread_cond_destroy(&spool->shared.changed);
    pthread_mutex_destroy(&spool->shared.lock);
    free(spool);
}

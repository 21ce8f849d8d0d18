/* SPDX-License-Identifier: Apache-2.0 */
/* The thread, from its start to its end.
 *
 * Happy path: wait (interval, or a worker at high water) -> drain rings and inbox -> local store,
 * backlog -> batches -> wait.
 * Failures: ring or inbox full, the pusher drops and counts; backlog full, the oldest goes, to the
 * spool if there is one; a backend fails, see sender.c; stop with segments left at the deadline,
 * they are counted and freed. */
#include "reporter/reporter.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "reporter/courier.h"
#include "reporter/packets.h"
#include "reporter/reporter_parts.h"
#include "reporter/transport.h"

int64_t sky_reporter_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct sky_packet *copy_packet(const struct sky_packet *packet)
{
    struct sky_packet *copy = malloc(sizeof(*copy) + packet->size);

    if (copy != NULL)
        memcpy(copy, packet, sizeof(*copy) + packet->size);
    return copy;
}

static void take(struct sky_reporter *reporter, struct sky_packet *packet)
{
    reporter->own.taken++;
    if (reporter->own.sender == NULL) {
        sky_local_store(reporter->local, packet);
        sky_tally_add(&reporter->tally, SKY_TALLY_confirmed, 1);
        return;
    }
    struct sky_packet *copy = reporter->local != NULL ? copy_packet(packet) : NULL;
    if (copy != NULL)
        sky_local_store(reporter->local, copy);
    if (sky_spill_is_due(&reporter->own.spill))
        sky_spill_relieve(&reporter->own.spill);
    size_t dropped = sky_backlog_add(&reporter->own.backlog, packet);
    if (dropped == 0)
        return;
    sky_tally_add(&reporter->tally, SKY_TALLY_dropped_backlog, dropped);
    sky_log_limited(&reporter->own.full_limit, SKY_LOG_WARN,
                    "reporter: reporter.memory is full, the oldest segments are dropped");
}

static void drain(struct sky_reporter *reporter)
{
    struct sky_packet *packet;

    for (size_t i = 0; i < reporter->options.worker_count; i++) {
        /* Bounded: a worker that pushes as fast as this reads must not keep the thread here. */
        for (size_t n = 0; n < SKY_RING_MAX_SLOTS; n++) {
            packet = sky_ring_pop(reporter->rings[i]);
            if (packet == NULL)
                break;
            take(reporter, packet);
        }
    }
    struct sky_packets inbox = sky_inbox_empty(&reporter->inbox);
    while ((packet = sky_packets_shift(&inbox)) != NULL)
        take(reporter, packet);
    sky_courier_gather(reporter->courier);
}

/* Once the spool is open, the makers keep their counts where a kill does not take them. */
static void mirror(struct sky_reporter *reporter)
{
    struct sky_page *page = reporter->spool != NULL ? sky_spool_page(reporter->spool) : NULL;

    if (page == reporter->own.mirrored)
        return;
    reporter->own.mirrored = page;
    size_t i = 0;
    for (; i < reporter->options.worker_count; i++)
        sky_ring_mirror(reporter->rings[i], &page->made[i].value);
    sky_inbox_mirror(&reporter->inbox, &page->made[i].value);
}

static void publish(struct sky_reporter *reporter)
{
    const struct sky_backlog *backlog = &reporter->own.backlog;
    const struct sky_backlog *readback = &reporter->own.spill.readback;

    sky_spill_publish(&reporter->own.spill, reporter->own.taken);
    atomic_store_explicit(&reporter->backlog_segments,
                          sky_backlog_count(backlog) + sky_backlog_count(readback),
                          memory_order_relaxed);
    atomic_store_explicit(&reporter->backlog_bytes,
                          sky_backlog_bytes(backlog) + sky_backlog_bytes(readback),
                          memory_order_relaxed);
}

static bool wait_for_wake(int wake_fd, int timeout_ms)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};

    return poll(&wake, 1, timeout_ms) > 0;
}

/* Until a wake-up, something of a call, or the time given. Returns whether it was a wake-up. */
static bool wait_until(struct sky_reporter *reporter, int64_t until_ms)
{
    int64_t left_ms = until_ms - sky_reporter_now_ms();
    int timeout_ms = left_ms < 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
    uint64_t wakes;

    publish(reporter);
    bool is_woken = reporter->own.sender != NULL
                        ? sky_sender_wait(reporter->own.sender, reporter->wake_fd, timeout_ms)
                        : wait_for_wake(reporter->wake_fd, timeout_ms);
    if (is_woken && read(reporter->wake_fd, &wakes, sizeof(wakes)) < 0)
        assert(errno == EAGAIN || errno == EINTR);
    return is_woken;
}

static void tick(struct sky_reporter *reporter, int64_t now)
{
    reporter->own.next_tick_ms = now + reporter->options.batch_interval_ms;
    if (reporter->options.on_tick != NULL)
        reporter->options.on_tick(reporter->options.tick_data, reporter);
}

/* Drains at a wake-up or the tick alone, not after each packet that libcurl has sent. */
static void work(struct sky_reporter *reporter)
{
    struct sky_sender *sender = reporter->own.sender;
    bool is_woken = true;

    while (!atomic_load_explicit(&reporter->is_stopping, memory_order_acquire)) {
        int64_t now = sky_reporter_now_ms();
        bool is_tick = now >= reporter->own.next_tick_ms;
        if (is_tick)
            tick(reporter, now);
        if (is_tick || is_woken)
            drain(reporter);
        int64_t until_ms = reporter->own.next_tick_ms;
        if (sender != NULL) {
            if (is_tick)
                sky_sender_flush(sender);
            mirror(reporter);
            int64_t take_ms = sky_spill_run(&reporter->own.spill, sky_sender_is_up(sender), now);
            publish(reporter); /* before calls are made, so that sums are seldom wrong */
            until_ms = take_ms < until_ms ? take_ms : until_ms;
            int64_t next_ms = sky_sender_run(sender);
            until_ms = next_ms < until_ms ? next_ms : until_ms;
        }
        is_woken = wait_until(reporter, until_ms);
    }
}

/* With a spool only as long as a backend may still answer, and half of the time. */
static void send_left(struct sky_reporter *reporter)
{
    struct sky_sender *sender = reporter->own.sender;
    int64_t until_ms = reporter->stop_at_ms;

    if (reporter->spool != NULL)
        until_ms -= (until_ms - sky_reporter_now_ms()) / 2;
    sky_sender_finish(sender);
    while (
        (sky_backlog_count(&reporter->own.backlog) > 0 || sky_sender_waits_for_records(sender)) &&
        sky_reporter_now_ms() < until_ms &&
        (reporter->spool == NULL || !sky_sender_is_away(sender))) {
        int64_t next_ms = sky_sender_run(sender);
        wait_until(reporter, next_ms < until_ms ? next_ms : until_ms);
    }
}

static void tell_spooled(struct sky_spool *spool)
{
    struct sky_spool_totals totals;

    sky_spool_totals(spool, &totals);
    if (totals.packets > 0)
        sky_log(SKY_LOG_INFO, "reporter: %llu segments are kept in the spool",
                (unsigned long long)totals.packets);
}

/* Sends what is left while there is time, spools what remains, and counts what is lost. */
static void finish(struct sky_reporter *reporter)
{
    drain(reporter);
    if (reporter->own.sender == NULL)
        return;
    send_left(reporter);
    sky_sender_destroy(reporter->own.sender);
    reporter->own.sender = NULL;
    sky_courier_give_up(reporter->courier);
    size_t lost = sky_spill_stop(&reporter->own.spill, reporter->own.taken, reporter->stop_at_ms);
    sky_tally_add(&reporter->tally, SKY_TALLY_dropped_stop, lost);
    if (reporter->spool != NULL)
        tell_spooled(reporter->spool);
    if (lost > 0)
        sky_log(SKY_LOG_WARN, "reporter: %zu segments were still unsent at the deadline", lost);
    publish(reporter);
}

static void *run(void *argument)
{
    work(argument);
    finish(argument);
    return NULL;
}

/* No signal is ever this thread's: the main thread handles them. */
int sky_reporter_start(struct sky_reporter *reporter)
{
    sigset_t all, before;

    int error = reporter->spool != NULL ? sky_spool_start(reporter->spool) : 0;
    if (error != 0)
        return error;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&reporter->thread, NULL, run, reporter);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_setname_np(reporter->thread, "sky-reporter");
        reporter->is_started = true;
    }
    return error;
}

void sky_reporter_wake(struct sky_reporter *reporter)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the thread is about to wake. */
    ssize_t written = write(reporter->wake_fd, &one, sizeof(one));
    (void)written;
}

void sky_reporter_stop(struct sky_reporter *reporter, uint32_t deadline_ms)
{
    if (reporter->is_stopped)
        return;
    sky_inbox_close(&reporter->inbox);
    reporter->is_stopped = true;
    reporter->stop_at_ms = sky_reporter_now_ms() + deadline_ms;
    atomic_store_explicit(&reporter->is_stopping, true, memory_order_release);
    if (!reporter->is_started) {
        finish(reporter);
        return;
    }
    sky_reporter_wake(reporter);
    pthread_join(reporter->thread, NULL);
}

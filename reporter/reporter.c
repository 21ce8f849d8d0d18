/* SPDX-License-Identifier: Apache-2.0 */
/* The thread, from its making to its end.
 *
 * Happy path: wait (interval, or a worker at high water) -> drain rings and inbox -> local store,
 * backlog -> batches -> wait.
 * Failures: ring or inbox full, the pusher drops and counts; backlog full, the oldest goes, to the
 * spool if there is one; a backend fails, see sender.c; stop with segments left at the deadline,
 * they are counted and freed. */
#include "reporter/reporter.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "reporter/courier.h"
#include "reporter/packets.h"
#include "reporter/reporter_parts.h"
#include "reporter/transport.h"

#define MIN_RING_SLOTS 1024
#define MAX_RING_SLOTS 65536
/* What a ring's slots are sized for. */
#define USUAL_PACKET_BYTES 512

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Memory: an eighth is the rings', a sixteenth the inbox's and the courier's each, the rest the
 * backlog's. With a spool an eighth is of what waits to be written, and an eighth of what moves
 * there and back. */

static size_t ring_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 8 / (options->worker_count > 0 ? options->worker_count : 1);
}

static size_t inbox_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 16;
}

static size_t courier_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 16;
}

static bool has_spool(const struct sky_reporter_options *options)
{
    return options->spool.path != NULL && options->spool.path[0] != '\0';
}

static size_t backlog_bytes(const struct sky_reporter_options *options)
{
    size_t bytes = options->memory_bytes - options->memory_bytes / 8 - inbox_bytes(options) -
                   courier_bytes(options);

    return has_spool(options) ? bytes - options->memory_bytes / 4 : bytes;
}

static size_t ring_slots(size_t bytes)
{
    size_t slots = MIN_RING_SLOTS;

    while (slots < MAX_RING_SLOTS && slots < bytes / USUAL_PACKET_BYTES)
        slots *= 2;
    return slots;
}

static bool make_rings(struct sky_reporter *reporter)
{
    size_t bytes = ring_bytes(&reporter->options);

    reporter->rings = calloc(reporter->options.worker_count + 1, sizeof(struct sky_ring *));
    if (reporter->rings == NULL)
        return false;
    for (size_t i = 0; i < reporter->options.worker_count; i++) {
        reporter->rings[i] = sky_ring_new(ring_slots(bytes), bytes);
        if (reporter->rings[i] == NULL)
            return false;
    }
    return true;
}

static bool make_sender(struct sky_reporter *reporter, const struct sky_transport_ops *ops)
{
    const struct sky_sender_parts parts = {
        .options = &reporter->options,
        .ops = ops,
        .backlog = &reporter->own.backlog,
        .readback = &reporter->own.spill.readback,
        .tally = &reporter->tally,
        .status = &reporter->status,
        .now_ms = now_ms,
        .courier = reporter->courier,
    };

    reporter->own.sender = sky_sender_new(&parts);
    return reporter->own.sender != NULL;
}

static void wake(void *reporter)
{
    sky_reporter_wake(reporter);
}

static bool make_spool(struct sky_reporter *reporter)
{
    const struct sky_reporter_options *options = &reporter->options;
    size_t part = options->memory_bytes / 32;

    reporter->own.spill.live = &reporter->own.backlog;
    if (!has_spool(options))
        return true;
    reporter->spool = sky_spool_new(&(struct sky_spool_settings){
        .path = options->spool.path,
        .max_bytes = options->spool.max_bytes,
        .pending_bytes = options->memory_bytes / 8,
        .chunk_bytes = part < options->batch_bytes ? part : options->batch_bytes,
        .sync = options->spool.sync,
        .maker_count = options->worker_count + 1,
        .wake = wake,
        .wake_argument = reporter,
    });
    reporter->own.spill.spool = reporter->spool;
    reporter->own.spill.move_bytes = part;
    reporter->own.spill.rate_bytes = options->spool.rate_bytes;
    return reporter->spool != NULL;
}

static bool make_parts(struct sky_reporter *reporter, const struct sky_transport_ops *ops)
{
    const struct sky_reporter_options *options = &reporter->options;

    reporter->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reporter->wake_fd < 0 || !make_rings(reporter))
        return false;
    reporter->lacks = ops != NULL ? ops->lacks : ~0u;
    reporter->courier = sky_courier_new(courier_bytes(options), &reporter->tally);
    if (reporter->courier == NULL)
        return false;
    if (ops == NULL || options->local_enabled) {
        reporter->local = sky_local_new(options->local_bytes);
        if (reporter->local == NULL)
            return false;
    }
    return ops == NULL || (make_spool(reporter) && make_sender(reporter, ops));
}

struct sky_reporter *sky_reporter_new_with(const struct sky_reporter_options *options,
                                           const struct sky_transport_ops *ops)
{
    struct sky_reporter *reporter = calloc(1, sizeof(*reporter));

    if (reporter == NULL)
        return NULL;
    reporter->options = *options;
    reporter->own.backlog.max_bytes = backlog_bytes(options);
    sky_inbox_init(&reporter->inbox, inbox_bytes(options));
    sky_tally_init(&reporter->tally);
    sky_status_init(&reporter->status);
    if (make_parts(reporter, ops))
        return reporter;
    sky_reporter_destroy(reporter);
    return NULL;
}

struct sky_reporter *sky_reporter_new(const struct sky_reporter_options *options)
{
    static const struct sky_transport_ops *const transports[] = {
        [SKY_PROTOCOL_LOCAL] = NULL,
        [SKY_PROTOCOL_GRPC] = &sky_transport_grpc,
        [SKY_PROTOCOL_HTTP] = &sky_transport_http,
        [SKY_PROTOCOL_KAFKA] = &sky_transport_kafka,
    };

    if (options->protocol != SKY_PROTOCOL_LOCAL &&
        curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    return sky_reporter_new_with(options, transports[options->protocol]);
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
        for (size_t n = 0; n < MAX_RING_SLOTS; n++) {
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
    int64_t left_ms = until_ms - now_ms();
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
        int64_t now = now_ms();
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
        until_ms -= (until_ms - now_ms()) / 2;
    sky_sender_finish(sender);
    while (
        (sky_backlog_count(&reporter->own.backlog) > 0 || sky_sender_waits_for_records(sender)) &&
        now_ms() < until_ms && (reporter->spool == NULL || !sky_sender_is_away(sender))) {
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
    reporter->stop_at_ms = now_ms() + deadline_ms;
    atomic_store_explicit(&reporter->is_stopping, true, memory_order_release);
    if (!reporter->is_started) {
        finish(reporter);
        return;
    }
    sky_reporter_wake(reporter);
    pthread_join(reporter->thread, NULL);
}

void sky_reporter_destroy(struct sky_reporter *reporter)
{
    if (reporter == NULL)
        return;
    for (size_t i = 0; reporter->rings != NULL && i < reporter->options.worker_count; i++)
        sky_ring_destroy(reporter->rings[i]);
    free(reporter->rings);
    sky_sender_destroy(reporter->own.sender);
    sky_courier_destroy(reporter->courier);
    sky_packets_free(&reporter->own.backlog.queue);
    sky_packets_free(&reporter->own.spill.readback.queue);
    sky_spool_destroy(reporter->spool);
    sky_inbox_fini(&reporter->inbox);
    sky_local_destroy(reporter->local);
    if (reporter->wake_fd >= 0)
        close(reporter->wake_fd);
    sky_status_fini(&reporter->status);
    free(reporter);
}

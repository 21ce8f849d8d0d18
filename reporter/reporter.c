/* SPDX-License-Identifier: Apache-2.0 */
/* The thread and what other threads may ask of it.
 *
 * Happy path: wait (interval, or a worker at high water) -> drain rings and inbox -> local store,
 * backlog -> batches -> wait.
 * Failures: ring or inbox full, the pusher drops and counts; backlog full, the oldest goes; a
 * backend fails, see sender.c; stop with segments left at the deadline, they are counted and freed.
 */
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

#include "reporter/backlog.h"
#include "reporter/courier.h"
#include "reporter/local.h"
#include "reporter/log.h"
#include "reporter/packets.h"
#include "reporter/segment_json.h"
#include "reporter/sender.h"
#include "reporter/status.h"
#include "reporter/tally.h"
#include "reporter/transport.h"

#define MIN_RING_SLOTS 1024
#define MAX_RING_SLOTS 65536
/* What a ring's slots are sized for. */
#define USUAL_PACKET_BYTES 512

struct sky_reporter {
    struct sky_reporter_options options;
    struct sky_ring **rings;
    struct sky_local *local; /* NULL when off */
    struct sky_courier *courier;
    unsigned lacks; /* of the transport; all bits without one */
    int wake_fd;
    pthread_t thread;
    bool is_started, is_stopped;
    struct sky_tally tally;
    struct sky_status status;
    _Atomic uint64_t backlog_segments, backlog_bytes; /* of own.backlog, for others to read */
    /* Of the thread alone. */
    struct {
        struct sky_backlog backlog;
        struct sky_sender *sender; /* NULL: the local store is all there is */
        int64_t next_tick_ms;
        struct sky_log_limit full_limit;
    } own;
    /* Under the lock. */
    struct {
        pthread_mutex_t lock;
        struct sky_packets inbox;
        size_t inbox_max_bytes;
        uint64_t submitted, refused, late;
        bool is_closed;
    } shared;
    _Atomic bool is_stopping;
    int64_t stop_at_ms; /* written before is_stopping */
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Memory: an eighth is the rings', a sixteenth the inbox's and the courier's each, the rest the
 * backlog's. */

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

static size_t backlog_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes - options->memory_bytes / 8 - inbox_bytes(options) -
           courier_bytes(options);
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
        .tally = &reporter->tally,
        .status = &reporter->status,
        .now_ms = now_ms,
        .courier = reporter->courier,
    };

    reporter->own.sender = sky_sender_new(&parts);
    return reporter->own.sender != NULL;
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
    return ops == NULL || make_sender(reporter, ops);
}

struct sky_reporter *sky_reporter_new_with(const struct sky_reporter_options *options,
                                           const struct sky_transport_ops *ops)
{
    struct sky_reporter *reporter = calloc(1, sizeof(*reporter));

    if (reporter == NULL)
        return NULL;
    reporter->options = *options;
    reporter->own.backlog.max_bytes = backlog_bytes(options);
    reporter->shared.inbox_max_bytes = inbox_bytes(options);
    pthread_mutex_init(&reporter->shared.lock, NULL);
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
    if (reporter->own.sender == NULL) {
        sky_local_store(reporter->local, packet);
        sky_tally_add(&reporter->tally, SKY_TALLY_confirmed, 1);
        return;
    }
    struct sky_packet *copy = reporter->local != NULL ? copy_packet(packet) : NULL;
    if (copy != NULL)
        sky_local_store(reporter->local, copy);
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
    pthread_mutex_lock(&reporter->shared.lock);
    struct sky_packets inbox = reporter->shared.inbox;
    reporter->shared.inbox = (struct sky_packets){0};
    pthread_mutex_unlock(&reporter->shared.lock);
    while ((packet = sky_packets_shift(&inbox)) != NULL)
        take(reporter, packet);
    sky_courier_gather(reporter->courier);
}

static void publish(struct sky_reporter *reporter)
{
    const struct sky_backlog *backlog = &reporter->own.backlog;

    atomic_store_explicit(&reporter->backlog_segments, sky_backlog_count(backlog),
                          memory_order_relaxed);
    atomic_store_explicit(&reporter->backlog_bytes, sky_backlog_bytes(backlog),
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
            int64_t next_ms = sky_sender_run(sender);
            until_ms = next_ms < until_ms ? next_ms : until_ms;
        }
        is_woken = wait_until(reporter, until_ms);
    }
}

/* Sends what is left while there is time, and counts what remains. */
static void finish(struct sky_reporter *reporter)
{
    struct sky_backlog *backlog = &reporter->own.backlog;

    drain(reporter);
    if (reporter->own.sender == NULL)
        return;
    sky_sender_finish(reporter->own.sender);
    while ((sky_backlog_count(backlog) > 0 || sky_sender_waits_for_records(reporter->own.sender)) &&
           now_ms() < reporter->stop_at_ms) {
        int64_t next_ms = sky_sender_run(reporter->own.sender);
        wait_until(reporter, next_ms < reporter->stop_at_ms ? next_ms : reporter->stop_at_ms);
    }
    sky_sender_destroy(reporter->own.sender);
    reporter->own.sender = NULL;
    sky_courier_give_up(reporter->courier);
    size_t left = sky_packets_free(&backlog->queue);
    sky_tally_add(&reporter->tally, SKY_TALLY_dropped_stop, left);
    if (left > 0)
        sky_log(SKY_LOG_WARN, "reporter: %zu segments were still unsent at the deadline", left);
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

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&reporter->thread, NULL, run, reporter);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0) {
        pthread_setname_np(reporter->thread, "sky-reporter");
        reporter->is_started = true;
    }
    return error;
}

struct sky_ring *sky_reporter_ring(struct sky_reporter *reporter, size_t worker)
{
    assert(worker < reporter->options.worker_count);
    return reporter->rings[worker];
}

void sky_reporter_wake(struct sky_reporter *reporter)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the thread is about to wake. */
    ssize_t written = write(reporter->wake_fd, &one, sizeof(one));
    (void)written;
}

void sky_reporter_submit(struct sky_reporter *reporter, struct sky_packet *packet)
{
    bool is_taken = false;

    pthread_mutex_lock(&reporter->shared.lock);
    reporter->shared.submitted++;
    if (reporter->shared.is_closed)
        reporter->shared.late++;
    else if (reporter->shared.inbox.bytes + sky_packet_cost(packet) >
             reporter->shared.inbox_max_bytes)
        reporter->shared.refused++;
    else
        is_taken = true;
    if (is_taken)
        sky_packets_add(&reporter->shared.inbox, packet);
    bool is_high = reporter->shared.inbox.bytes > reporter->shared.inbox_max_bytes / 2;
    pthread_mutex_unlock(&reporter->shared.lock);
    if (!is_taken)
        free(packet);
    if (is_high)
        sky_reporter_wake(reporter);
}

bool sky_reporter_takes(const struct sky_reporter *reporter, enum sky_packet_kind kind)
{
    return (reporter->lacks >> sky_call_of(kind) & 1) == 0;
}

void sky_reporter_offer(struct sky_reporter *reporter, struct sky_packet *packet)
{
    assert(packet->kind != SKY_PACKET_SEGMENT);
    if (sky_courier_offer(reporter->courier, packet))
        sky_reporter_wake(reporter);
}

void sky_reporter_counters(struct sky_reporter *reporter, struct sky_reporter_counters *counters)
{
    *counters = (struct sky_reporter_counters){0};
#define SKY_COUNTER(name, metric, labels, help) \
    counters->name = sky_tally_read(&reporter->tally, SKY_TALLY_##name);
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    for (size_t i = 0; i < reporter->options.worker_count; i++) {
        size_t refused = sky_ring_refused(reporter->rings[i]);
        counters->segments += sky_ring_pushed(reporter->rings[i]) + refused;
        counters->dropped_ring += refused;
    }
    sky_courier_add_counts(reporter->courier, counters);
    pthread_mutex_lock(&reporter->shared.lock);
    counters->segments += reporter->shared.submitted;
    counters->dropped_ring += reporter->shared.refused;
    counters->dropped_stop += reporter->shared.late;
    pthread_mutex_unlock(&reporter->shared.lock);
    counters->backlog_segments =
        atomic_load_explicit(&reporter->backlog_segments, memory_order_relaxed);
    counters->backlog_bytes = atomic_load_explicit(&reporter->backlog_bytes, memory_order_relaxed);
    pthread_mutex_lock(&reporter->status.lock);
    counters->connected = reporter->status.is_connected;
    memcpy(counters->last_error, reporter->status.last_error, sizeof(counters->last_error));
    pthread_mutex_unlock(&reporter->status.lock);
    if (reporter->local == NULL)
        return;
    struct sky_local_totals totals = sky_local_totals(reporter->local);
    counters->local_segments = totals.segments;
    counters->local_bytes = totals.bytes;
    counters->local_evicted = totals.evicted;
}

void sky_reporter_stop(struct sky_reporter *reporter, uint32_t deadline_ms)
{
    if (reporter->is_stopped)
        return;
    pthread_mutex_lock(&reporter->shared.lock);
    reporter->shared.is_closed = true;
    pthread_mutex_unlock(&reporter->shared.lock);
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
    sky_packets_free(&reporter->shared.inbox);
    sky_local_destroy(reporter->local);
    if (reporter->wake_fd >= 0)
        close(reporter->wake_fd);
    pthread_mutex_destroy(&reporter->shared.lock);
    sky_status_fini(&reporter->status);
    free(reporter);
}

char *sky_reporter_traces_json(struct sky_reporter *reporter, size_t limit)
{
    return reporter->local != NULL ? sky_local_traces(reporter->local, limit) : NULL;
}

char *sky_reporter_trace_json(struct sky_reporter *reporter, struct sky_text trace_id)
{
    return reporter->local != NULL ? sky_local_trace(reporter->local, trace_id) : NULL;
}

int sky_reporter_accept_json(struct sky_reporter *reporter, struct sky_text body, char *error,
                             size_t error_size)
{
    struct sky_packets segments = {0};
    struct sky_packet *packet;

    if (!sky_segments_from_json(body, &segments, error, error_size))
        return -1;
    int count = (int)segments.count;
    while ((packet = sky_packets_shift(&segments)) != NULL)
        sky_reporter_submit(reporter, packet);
    return count;
}

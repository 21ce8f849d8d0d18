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
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "reporter/local.h"
#include "reporter/log.h"
#include "reporter/packets.h"
#include "reporter/segment_json.h"
#include "reporter/tally.h"

#define MIN_RING_SLOTS 1024
#define MAX_RING_SLOTS 65536
/* What a ring's slots are sized for. */
#define USUAL_PACKET_BYTES 512

struct sky_reporter {
    struct sky_reporter_options options;
    struct sky_ring **rings;
    struct sky_local *local; /* NULL when off */
    int wake_fd;
    pthread_t thread;
    bool is_started;
    struct sky_tally tally;
    /* Of the thread alone. */
    struct {
        int64_t next_tick_ms;
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

/* Memory: a quarter is the rings', an eighth the inbox's, the rest the backlog's. */
static size_t ring_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 4 / (options->worker_count > 0 ? options->worker_count : 1);
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

struct sky_reporter *sky_reporter_new(const struct sky_reporter_options *options)
{
    struct sky_reporter *reporter = calloc(1, sizeof(*reporter));

    if (reporter == NULL)
        return NULL;
    reporter->options = *options;
    reporter->shared.inbox_max_bytes = options->memory_bytes / 8;
    pthread_mutex_init(&reporter->shared.lock, NULL);
    reporter->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool is_made = reporter->wake_fd >= 0 && make_rings(reporter);
    if (is_made && (options->local_enabled || options->protocol == SKY_PROTOCOL_LOCAL)) {
        reporter->local = sky_local_new(options->local_bytes);
        is_made = reporter->local != NULL;
    }
    if (is_made)
        return reporter;
    sky_reporter_destroy(reporter);
    return NULL;
}

static void take(struct sky_reporter *reporter, struct sky_packet *packet)
{
    sky_local_store(reporter->local, packet);
    sky_tally_add(&reporter->tally, SKY_TALLY_confirmed, 1);
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
}

/* Until a wake-up or the time given. */
static void wait(struct sky_reporter *reporter, int64_t until_ms)
{
    struct pollfd wake = {.fd = reporter->wake_fd, .events = POLLIN};
    int64_t timeout_ms = until_ms - now_ms();
    uint64_t wakes;

    poll(&wake, 1, timeout_ms > 0 ? (int)timeout_ms : 0);
    if (wake.revents != 0 && read(reporter->wake_fd, &wakes, sizeof(wakes)) < 0)
        assert(errno == EAGAIN || errno == EINTR);
}

static void *run(void *argument)
{
    struct sky_reporter *reporter = argument;

    while (!atomic_load_explicit(&reporter->is_stopping, memory_order_acquire)) {
        wait(reporter, now_ms() + reporter->options.batch_interval_ms);
        drain(reporter);
    }
    drain(reporter);
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
    pthread_mutex_lock(&reporter->shared.lock);
    counters->segments += reporter->shared.submitted;
    counters->dropped_ring += reporter->shared.refused;
    counters->dropped_stop += reporter->shared.late;
    pthread_mutex_unlock(&reporter->shared.lock);
    if (reporter->local == NULL)
        return;
    struct sky_local_totals totals = sky_local_totals(reporter->local);
    counters->local_segments = totals.segments;
    counters->local_bytes = totals.bytes;
}

void sky_reporter_stop(struct sky_reporter *reporter, uint32_t deadline_ms)
{
    if (!reporter->is_started)
        return;
    pthread_mutex_lock(&reporter->shared.lock);
    reporter->shared.is_closed = true;
    pthread_mutex_unlock(&reporter->shared.lock);
    reporter->stop_at_ms = now_ms() + deadline_ms;
    atomic_store_explicit(&reporter->is_stopping, true, memory_order_release);
    sky_reporter_wake(reporter);
    pthread_join(reporter->thread, NULL);
    reporter->is_started = false;
}

void sky_reporter_destroy(struct sky_reporter *reporter)
{
    if (reporter == NULL)
        return;
    for (size_t i = 0; reporter->rings != NULL && i < reporter->options.worker_count; i++)
        sky_ring_destroy(reporter->rings[i]);
    free(reporter->rings);
    sky_packets_free(&reporter->shared.inbox);
    sky_local_destroy(reporter->local);
    if (reporter->wake_fd >= 0)
        close(reporter->wake_fd);
    pthread_mutex_destroy(&reporter->shared.lock);
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

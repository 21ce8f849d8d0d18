/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: a worker pushes a line; if the writer sleeps, it is woken, by the only system call
 * that a worker makes for the log. The writer collects for a moment, writes all rings out, and goes
 * on so as long as lines come: under load nobody has to wake it.
 * Failures: a ring is full (the disk or the reader of a pipe is slower than the requests) -> the
 * line is dropped and counted. A write fails -> counted, log_file.h. At stop the writer has
 * timeouts.flush. */
#include "proxy/access/access_log.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/access/line_ring.h"
#include "proxy/access/log_file.h"
#include "reporter/log.h"

/* How long the writer collects lines before it writes; a ring that is half full ends it. */
#define COLLECT_MS 50

enum writer_state { AWAKE, COLLECTING, ASLEEP };

struct sky_access_pen {
    struct sky_access_log *log;
    struct sky_line_ring *ring;
};

struct sky_access_log {
    enum sky_access_format format;
    struct sky_log_file file; /* the writer's, once it runs */
    char *target;             /* the file's name: a reload may free the configuration's */
    struct sky_access_pen *pens;
    size_t pen_count;
    pthread_t writer;
    bool is_running;
    sem_t wake;
    _Atomic int state; /* enum writer_state; who takes it from COLLECTING or ASLEEP posts `wake` */
    _Atomic bool reopen, stop;
    _Atomic int64_t deadline_ms; /* CLOCK_MONOTONIC; 0: none yet */
    _Atomic size_t lost;
};

/* ---- the writer's thread ---- */

static void wake(struct sky_access_log *log)
{
    if (atomic_exchange(&log->state, AWAKE) != AWAKE)
        sem_post(&log->wake);
}

static struct timespec monotonic_after(int64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* Returns whether there was anything. */
static bool drain(struct sky_access_log *log)
{
    bool any = false;
    for (size_t i = 0; i < log->pen_count; i++) {
        struct iovec pieces[2];
        int count = sky_line_ring_peek(log->pens[i].ring, pieces);
        if (count == 0)
            continue;
        any = true;
        size_t bytes = pieces[0].iov_len + pieces[1].iov_len;
        size_t lost = sky_log_file_write(&log->file, pieces, count, &log->deadline_ms);
        atomic_fetch_add_explicit(&log->lost, lost, memory_order_relaxed);
        sky_line_ring_pop(log->pens[i].ring, bytes);
    }
    return any;
}

static void collect(struct sky_access_log *log)
{
    struct timespec until = monotonic_after(COLLECT_MS);
    atomic_store(&log->state, COLLECTING);
    while (!atomic_load(&log->stop) && sem_clockwait(&log->wake, CLOCK_MONOTONIC, &until) != 0 &&
           errno == EINTR)
        ;
    atomic_store(&log->state, AWAKE);
}

static bool is_idle(struct sky_access_log *log)
{
    struct iovec pieces[2];
    for (size_t i = 0; i < log->pen_count; i++)
        if (sky_line_ring_peek(log->pens[i].ring, pieces) != 0)
            return false;
    return !atomic_load(&log->stop) && !atomic_load(&log->reopen);
}

/* ASLEEP is set before the rings are looked at, and a worker looks at the state after it has
 * pushed: one of both sees the other. */
static void sleep_until_woken(struct sky_access_log *log)
{
    atomic_store(&log->state, ASLEEP);
    if (is_idle(log))
        while (sem_wait(&log->wake) != 0) /* EINTR */
            ;
    atomic_store(&log->state, AWAKE);
}

static void *run(void *arg)
{
    struct sky_access_log *log = arg;
    pthread_setname_np(pthread_self(), "sky-access-log");
    for (;;) {
        bool stop = atomic_load(&log->stop); /* before the drain: then it finds everything */
        bool reopen = atomic_exchange(&log->reopen, false);
        bool any = drain(log);
        if (reopen)
            sky_log_file_reopen(&log->file);
        if (stop)
            return NULL;
        if (!any)
            sleep_until_woken(log);
        collect(log);
    }
}

/* ---- the workers' side ---- */

void sky_access_write(struct sky_access_pen *pen, const struct sky_access *access,
                      struct sky_counters *counters)
{
    char line[SKY_ACCESS_LINE_BYTES];
    struct sky_access_log *log = pen->log;
    size_t len = sky_access_line(log->format, access, line);
    if (!sky_line_ring_push(pen->ring, sky_text(line, len))) {
        sky_count(counters, SKY_COUNT_access_dropped);
        return;
    }
    sky_count(counters, SKY_COUNT_access_logged);
    int state = atomic_load(&log->state);
    if (state == ASLEEP || (state == COLLECTING && sky_line_ring_is_high(pen->ring)))
        wake(log);
}

/* ---- life ---- */

static bool make_pens(struct sky_access_log *log, size_t count, size_t bytes)
{
    log->pens = calloc(count, sizeof(*log->pens));
    if (log->pens == NULL)
        return false;
    for (; log->pen_count < count; log->pen_count++) {
        struct sky_line_ring *ring = sky_line_ring_new(bytes);
        if (ring == NULL)
            return false;
        log->pens[log->pen_count] = (struct sky_access_pen){log, ring};
    }
    return true;
}

static int start(struct sky_access_log *log, const struct sky_config *config)
{
    char error[256];
    log->target = strdup(config->log.access);
    if (log->target == NULL) {
        sky_log(SKY_LOG_ERROR, "log.access: memory is out");
        return -1;
    }
    if (sky_log_file_open(&log->file, log->target, error, sizeof(error)) != 0) {
        sky_log(SKY_LOG_ERROR, "log.access: %s", error);
        return -1;
    }
    if (!make_pens(log, config->workers, config->log.access_buffer)) {
        sky_log(SKY_LOG_ERROR, "log.access: memory is out");
        return -1;
    }
    int rc = pthread_create(&log->writer, NULL, run, log);
    if (rc != 0) {
        sky_log(SKY_LOG_ERROR, "log.access: cannot start a thread: %s", strerror(rc));
        return -1;
    }
    log->is_running = true;
    return 0;
}

int sky_access_log_open(struct sky_access_log **log, const struct sky_config *config)
{
    *log = NULL;
    if (config->log.access == NULL || strcmp(config->log.access, "off") == 0)
        return 0;
    struct sky_access_log *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        sky_log(SKY_LOG_ERROR, "log.access: memory is out");
        return -1;
    }
    made->format = config->log.format;
    made->file.fd = -1;
    sem_init(&made->wake, 0, 0);
    if (start(made, config) != 0) {
        sky_access_log_destroy(made);
        return -1;
    }
    *log = made;
    return 0;
}

struct sky_access_pen *sky_access_log_pen(struct sky_access_log *log, size_t worker_index)
{
    return log != NULL ? &log->pens[worker_index] : NULL;
}

void sky_access_log_reopen(struct sky_access_log *log)
{
    atomic_store(&log->reopen, true);
    wake(log);
}

void sky_access_log_stop(struct sky_access_log *log, uint32_t flush_ms)
{
    if (log == NULL || !log->is_running)
        return;
    struct timespec until = monotonic_after(flush_ms);
    atomic_store(&log->deadline_ms, (int64_t)until.tv_sec * 1000 + until.tv_nsec / 1000000);
    atomic_store(&log->stop, true);
    sem_post(&log->wake);
    pthread_join(log->writer, NULL);
    log->is_running = false;
}

size_t sky_access_log_lost(const struct sky_access_log *log)
{
    return log != NULL ? atomic_load_explicit(&log->lost, memory_order_relaxed) : 0;
}

void sky_access_log_destroy(struct sky_access_log *log)
{
    if (log == NULL)
        return;
    sky_access_log_stop(log, 0);
    for (size_t i = 0; i < log->pen_count; i++)
        sky_line_ring_destroy(log->pens[i].ring);
    free(log->pens);
    sky_log_file_close(&log->file);
    free(log->target);
    sem_destroy(&log->wake);
    free(log);
}

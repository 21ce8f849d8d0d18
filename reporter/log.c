/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a line on the stack and writes it with one call, unless that would block: who reads a pipe
 * and does not keep up with it must not hold up requests. The next line says what was lost. */
#include "reporter/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define LIMIT_INTERVAL_MS 10000

static _Atomic int log_level = SKY_LOG_INFO;

void sky_log_set_level(enum sky_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

static bool is_enabled(enum sky_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static size_t put_head(char *line, size_t size, enum sky_log_level level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct timespec now;
    struct tm utc;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    length += (size_t)snprintf(line + length, size - length, ".%03ldZ %s ", now.tv_nsec / 1000000,
                               names[level]);
    return length;
}

/* Control characters become \xNN; the text is cut where the next character would not fit. */
static size_t put_escaped(char *dst, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t length = 0;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_control = c < 0x20 || c == 0x7f;
        if (size - length < (is_control ? 4u : 1u))
            break;
        if (!is_control) {
            dst[length++] = *text;
            continue;
        }
        dst[length++] = '\\';
        dst[length++] = 'x';
        dst[length++] = hex[c >> 4];
        dst[length++] = hex[c & 15];
    }
    return length;
}

static void write_line(enum sky_log_level level, uint64_t suppressed, const char *format,
                       va_list arguments) __attribute__((format(printf, 3, 0)));

/* Between the look for room and the write no other thread may take it. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static uint64_t lost; /* under turn: lines that found no room */

static bool has_room(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&out, 1, 0) != 0;
}

static void put_tail(char *tail, size_t size, uint64_t suppressed)
{
    int length = 0;

    if (suppressed > 0)
        length =
            snprintf(tail, size, " (%llu more like this before)", (unsigned long long)suppressed);
    if (lost > 0)
        length += snprintf(tail + length, size - (size_t)length, " (%llu lines lost before)",
                           (unsigned long long)lost);
    snprintf(tail + length, size - (size_t)length, "\n");
}

static void write_text(enum sky_log_level level, uint64_t suppressed, const char *text)
{
    char tail[128], line[LINE_MAX_BYTES];

    put_tail(tail, sizeof(tail), suppressed);
    size_t tail_length = strlen(tail);
    size_t length = put_head(line, sizeof(line), level);
    length += put_escaped(line + length, sizeof(line) - length - tail_length, text);
    memcpy(line + length, tail, tail_length);
    /* A log that cannot be written has nowhere to say so. */
    ssize_t written = write(STDERR_FILENO, line, length + tail_length);
    (void)written;
}

static void write_line(enum sky_log_level level, uint64_t suppressed, const char *format,
                       va_list arguments)
{
    char text[LINE_MAX_BYTES];
    int saved_errno = errno;

    if (vsnprintf(text, sizeof(text), format, arguments) < 0)
        return;
    pthread_mutex_lock(&turn);
    if (has_room()) {
        write_text(level, suppressed, text);
        lost = 0;
    } else {
        lost++;
    }
    pthread_mutex_unlock(&turn);
    errno = saved_errno;
}

void sky_log(enum sky_log_level level, const char *format, ...)
{
    va_list arguments;

    if (!is_enabled(level))
        return;
    va_start(arguments, format);
    write_line(level, 0, format, arguments);
    va_end(arguments);
}

static int64_t coarse_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sky_log_limited(struct sky_log_limit *limit, enum sky_log_level level, const char *format, ...)
{
    va_list arguments;

    if (!is_enabled(level))
        return;
    int64_t now = coarse_ms();
    int64_t next = atomic_load_explicit(&limit->next_ms, memory_order_relaxed);
    /* Of several threads that find the time has come, one writes. */
    if (now < next ||
        !atomic_compare_exchange_strong(&limit->next_ms, &next, now + LIMIT_INTERVAL_MS)) {
        atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
        return;
    }
    uint64_t suppressed = atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
    va_start(arguments, format);
    write_line(level, suppressed, format, arguments);
    va_end(arguments);
}

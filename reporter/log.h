/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own log: one line a message to stderr, `<time> <level> <text>`. Any thread. */
#ifndef SKY_REPORTER_LOG_H
#define SKY_REPORTER_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sky_log_level { SKY_LOG_ERROR, SKY_LOG_WARN, SKY_LOG_INFO, SKY_LOG_DEBUG };

/* sky_log_set_level: messages above this level are dropped. Default SKY_LOG_INFO. */
void sky_log_set_level(enum sky_log_level level);

/* sky_log: control characters in the text are escaped, so foreign bytes cannot forge a line; a line
 * is written by one write(2) and cut at 2 KiB. Never waits: a line that finds a pipe full is lost,
 * and counted in the next one. */
void sky_log(enum sky_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What keeps a message that could come with each request to one line in a while. Zero-initialised,
 * static at the place of the message; any thread. */
struct sky_log_limit {
    _Atomic int64_t next_ms;     /* CLOCK_MONOTONIC_COARSE: not before */
    _Atomic uint64_t suppressed; /* messages held back since the last line */
};

/* sky_log_limited: as sky_log, at most one line per 10 s and limit; the line says how many were
 * held back before it. */
void sky_log_limited(struct sky_log_limit *limit, enum sky_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

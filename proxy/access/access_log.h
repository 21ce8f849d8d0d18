/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: workers push lines into rings of their own, one thread writes them. A worker
 * never waits: what finds no room is dropped and counted. */
#ifndef SKY_PROXY_ACCESS_ACCESS_LOG_H
#define SKY_PROXY_ACCESS_ACCESS_LOG_H

#include "proxy/access/access_line.h"
#include "proxy/config/config.h"
#include "proxy/counters.h"

struct sky_access_log;

/* One worker's end of it. */
struct sky_access_pen;

/* sky_access_log_open: opens what log.access names and starts the writer. Sets *log to NULL when
 * that is `off`. -1 after a line in the program's log. */
int sky_access_log_open(struct sky_access_log **log, const struct sky_config *config);

/* sky_access_log_pen: of a worker; NULL when log is. Valid as long as the log. */
struct sky_access_pen *sky_access_log_pen(struct sky_access_log *log, size_t worker_index);

/* sky_access_write: that worker's thread only. */
void sky_access_write(struct sky_access_pen *pen, const struct sky_access *access,
                      struct sky_counters *counters);

/* sky_access_log_reopen: any thread, returns at once: the writer opens the file anew after what it
 * has written so far. */
void sky_access_log_reopen(struct sky_access_log *log);

/* sky_access_log_stop: when no worker writes any more; waits until everything is written, or
 * flush_ms have passed and the rest is given up. Once; NULL is fine. */
void sky_access_log_stop(struct sky_access_log *log, uint32_t flush_ms);

/* sky_access_log_lost: lines that were taken and could not be written. Any thread; NULL is fine. */
size_t sky_access_log_lost(const struct sky_access_log *log);

/* sky_access_log_destroy: stops it if need be, without waiting for who takes nothing. */
void sky_access_log_destroy(struct sky_access_log *log);

#endif

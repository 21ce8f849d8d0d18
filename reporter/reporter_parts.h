/* SPDX-License-Identifier: Apache-2.0 */
/* What a reporter consists of; for the files reporter*.c alone. */
#ifndef SKY_REPORTER_REPORTER_PARTS_H
#define SKY_REPORTER_REPORTER_PARTS_H

#include <pthread.h>

#include "reporter/backlog.h"
#include "reporter/inbox.h"
#include "reporter/local.h"
#include "reporter/log.h"
#include "reporter/reporter.h"
#include "reporter/sender.h"
#include "reporter/spool/spill.h"
#include "reporter/status.h"
#include "reporter/tally.h"

/* Of a ring; and as many the thread takes from one before it looks at the next. */
#define SKY_RING_MAX_SLOTS 65536

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
    struct sky_spool *spool;                          /* NULL: none */
    struct sky_inbox inbox;
    /* Of the thread alone. */
    struct {
        struct sky_backlog backlog;
        struct sky_spill spill;
        uint64_t taken; /* from the rings and the inbox */
        const struct sky_page *mirrored;
        struct sky_sender *sender; /* NULL: the local store is all there is */
        int64_t next_tick_ms;
        struct sky_log_limit full_limit;
    } own;
    _Atomic bool is_stopping;
    int64_t stop_at_ms; /* written before is_stopping */
};

/* CLOCK_MONOTONIC. */
int64_t sky_reporter_now_ms(void);

#endif

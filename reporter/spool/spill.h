/* SPDX-License-Identifier: Apache-2.0 */
/* What goes from the backlog into the spool, and what comes back: out when memory is nearly full,
 * in when a backend works and the live segments are through. Reporter thread only; the clock is the
 * caller's. */
#ifndef SKY_REPORTER_SPOOL_SPILL_H
#define SKY_REPORTER_SPOOL_SPILL_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/backlog.h"
#include "reporter/spool/spool.h"

struct sky_spill {
    struct sky_spool *spool;     /* borrowed; NULL: there is none, and nothing here does anything */
    struct sky_backlog *live;    /* borrowed */
    struct sky_backlog readback; /* what was taken from the spool, for the sender */
    uint64_t rate_bytes;         /* read back in a second; 0: no limit */
    size_t move_bytes;           /* into the spool at a time */
    int64_t next_take_ms;
    uint64_t put_count;
    bool is_taken; /* readback is, or was, the part of the spool that is to be settled */
};

/* sky_spill_is_due: whether memory is nearly full. */
static inline bool sky_spill_is_due(const struct sky_spill *spill)
{
    return spill->spool != NULL && sky_backlog_bytes(spill->live) > spill->live->max_bytes / 4 * 3;
}

/* sky_spill_relieve: puts the oldest into the spool, as far as it has room, until memory is not. */
void sky_spill_relieve(struct sky_spill *spill);

/* sky_spill_run: takes back what is due; `is_up`: a backend answers. Returns when it wants to run
 * again; INT64_MAX: when the spool has waked the thread. */
int64_t sky_spill_run(struct sky_spill *spill, bool is_up, int64_t now_ms);

/* sky_spill_publish: notes on the spool's page what is settled of the `taken` segments that ever
 * were added to the backlog, in case the process is killed. */
void sky_spill_publish(const struct sky_spill *spill, uint64_t taken);

/* sky_spill_stop: all of the backlog goes into the spool, and the spool is stopped; without a spool
 * it is freed. Nothing may be out with calls. Returns how many segments are lost. */
size_t sky_spill_stop(struct sky_spill *spill, uint64_t taken, int64_t deadline_ms);

#endif

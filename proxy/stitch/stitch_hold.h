/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of a stitch that wait for messages, and the memory of all messages: bounded in time
 * by stitch.hold and in bytes by stitch.hold_max. Loop thread only, but for the bytes. */
#ifndef SKY_PROXY_STITCH_STITCH_HOLD_H
#define SKY_PROXY_STITCH_STITCH_HOLD_H

#include <stdatomic.h>

#include "proxy/stitch/stitch.h"
#include "proxy/stitch/stitch_table.h"

struct sky_stitch_hold {
    h2o_context_t *ctx;
    struct sky_counters *counters;
    struct sky_stitch_table *table; /* learns who is given up */
    size_t max_bytes;
    h2o_timeout_t whole, turn; /* stitch.hold; one turn of the loop */
    h2o_linklist_t entries;    /* oldest first */
    _Atomic size_t bytes;      /* written by the loop thread alone, read by any */
};

/* sky_stitch_hold_init: the pointers are borrowed. */
void sky_stitch_hold_init(struct sky_stitch_hold *hold, h2o_context_t *ctx,
                          const struct sky_config *config, struct sky_counters *counters,
                          struct sky_stitch_table *table);

/* sky_stitch_hold_fini: no entry may wait. */
void sky_stitch_hold_fini(struct sky_stitch_hold *hold);

/* sky_stitch_hold_add: the entry waits up to stitch.hold, or is given up at once when the others
 * leave no room. */
void sky_stitch_hold_add(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry);

/* sky_stitch_hold_add_turn: the entry waits until the loop has asked epoll once more. */
void sky_stitch_hold_add_turn(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry);

/* sky_stitch_hold_make_room: for `size` bytes more, at the cost of the oldest that wait, but for
 * `keep`. False when that is not enough. */
bool sky_stitch_hold_make_room(struct sky_stitch_hold *hold, size_t size,
                               const struct sky_stitch_entry *keep);

/* sky_stitch_hold_charge: accounts bytes to the entry until it is released. */
void sky_stitch_hold_charge(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry,
                            size_t bytes);

/* sky_stitch_hold_release: takes the entry out of the table and of all lists, waiting or not. */
void sky_stitch_hold_release(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry);

/* sky_stitch_hold_report: releases the entry and calls entry->report. */
void sky_stitch_hold_report(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry);

/* sky_stitch_hold_flush: gives up all that wait. */
void sky_stitch_hold_flush(struct sky_stitch_hold *hold);

#endif

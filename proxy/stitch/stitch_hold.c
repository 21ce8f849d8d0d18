/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_hold.h"

/* What a waiting trace costs besides its messages: the first chunk of its pool. */
#define ENTRY_BYTES 4096
/* One turn of the loop: the timer cannot fire before epoll was asked once more. */
#define TURN_MS 1

void sky_stitch_hold_init(struct sky_stitch_hold *hold, h2o_context_t *ctx,
                          const struct sky_config *config, struct sky_counters *counters,
                          struct sky_stitch_table *table)
{
    hold->ctx = ctx;
    hold->counters = counters;
    hold->table = table;
    hold->max_bytes = config->stitch.hold_max;
    atomic_init(&hold->bytes, 0);
    h2o_timeout_init(ctx->loop, &hold->whole, config->stitch.hold_ms);
    h2o_timeout_init(ctx->loop, &hold->turn, TURN_MS);
    h2o_linklist_init_anchor(&hold->entries);
}

void sky_stitch_hold_fini(struct sky_stitch_hold *hold)
{
    h2o_timeout_dispose(hold->ctx->loop, &hold->whole);
    h2o_timeout_dispose(hold->ctx->loop, &hold->turn);
}

static size_t get_bytes(const struct sky_stitch_hold *hold)
{
    return atomic_load_explicit(&hold->bytes, memory_order_relaxed);
}

/* There is one writer: no locked instruction. */
static void set_bytes(struct sky_stitch_hold *hold, size_t bytes)
{
    atomic_store_explicit(&hold->bytes, bytes, memory_order_relaxed);
}

void sky_stitch_hold_charge(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry,
                            size_t bytes)
{
    entry->bytes += bytes;
    set_bytes(hold, get_bytes(hold) + bytes);
}

void sky_stitch_hold_release(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry)
{
    h2o_linklist_unlink(&entry->bucket);
    if (h2o_linklist_is_linked(&entry->held))
        h2o_linklist_unlink(&entry->held);
    h2o_timeout_unlink(&entry->timer);
    if (entry->bytes != 0)
        set_bytes(hold, get_bytes(hold) - entry->bytes);
    entry->bytes = 0;
}

void sky_stitch_hold_report(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry)
{
    sky_stitch_hold_release(hold, entry);
    entry->report(entry);
}

static void give_up(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry,
                    enum sky_counter reason)
{
    sky_count(hold->counters, reason);
    sky_stitch_table_give_up(hold->table, entry->segment);
    sky_stitch_hold_report(hold, entry);
}

/* NULL when none but `keep` waits. */
static struct sky_stitch_entry *oldest(struct sky_stitch_hold *hold,
                                       const struct sky_stitch_entry *keep)
{
    for (h2o_linklist_t *link = hold->entries.next; link != &hold->entries; link = link->next) {
        struct sky_stitch_entry *entry =
            H2O_STRUCT_FROM_MEMBER(struct sky_stitch_entry, held, link);
        if (entry != keep)
            return entry;
    }
    return NULL;
}

bool sky_stitch_hold_make_room(struct sky_stitch_hold *hold, size_t size,
                               const struct sky_stitch_entry *keep)
{
    while (get_bytes(hold) + size > hold->max_bytes) {
        struct sky_stitch_entry *entry = oldest(hold, keep);
        if (entry == NULL)
            return false;
        give_up(hold, entry, SKY_COUNT_stitch_hold_overflow);
    }
    return true;
}

static void on_held_too_long(h2o_timeout_entry_t *timer)
{
    struct sky_stitch_entry *entry = H2O_STRUCT_FROM_MEMBER(struct sky_stitch_entry, timer, timer);
    give_up(entry->hold, entry, SKY_COUNT_stitch_hold_timeout);
}

static void on_turn_over(h2o_timeout_entry_t *timer)
{
    struct sky_stitch_entry *entry = H2O_STRUCT_FROM_MEMBER(struct sky_stitch_entry, timer, timer);
    sky_stitch_hold_report(entry->hold, entry);
}

static void add(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry,
                h2o_timeout_t *timeout, h2o_timeout_cb on_end)
{
    if (!sky_stitch_hold_make_room(hold, ENTRY_BYTES, entry)) {
        give_up(hold, entry, SKY_COUNT_stitch_hold_overflow);
        return;
    }
    entry->hold = hold;
    sky_stitch_hold_charge(hold, entry, ENTRY_BYTES);
    h2o_linklist_insert(&hold->entries, &entry->held);
    entry->timer.cb = on_end;
    h2o_timeout_link(hold->ctx->loop, timeout, &entry->timer);
}

void sky_stitch_hold_add(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry)
{
    sky_count(hold->counters, SKY_COUNT_stitch_held);
    add(hold, entry, &hold->whole, on_held_too_long);
}

void sky_stitch_hold_add_turn(struct sky_stitch_hold *hold, struct sky_stitch_entry *entry)
{
    add(hold, entry, &hold->turn, on_turn_over);
}

void sky_stitch_hold_flush(struct sky_stitch_hold *hold)
{
    struct sky_stitch_entry *entry;
    while ((entry = oldest(hold, NULL)) != NULL)
        give_up(hold, entry, SKY_COUNT_stitch_hold_flushed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a batch when its call has ended, by the outcomes that sender.c names. */
#include "reporter/sender_inside.h"

/* On a slow line a batch is halved down to this, and grows again by steps. */
#define MIN_BATCH_BYTES (16u << 10)
#define GROWTH_STEPS 16
#define HALVINGS_PER_S 10

static bool take_halving(struct sky_sender *sender)
{
    int64_t now = sender->parts.now_ms();
    int64_t earned = (now - sender->halvings_at_ms) * HALVINGS_PER_S / 1000;

    if (earned > 0) {
        int64_t sum = sender->halvings + earned;
        sender->halvings = sum < MAX_HALVINGS ? (unsigned)sum : MAX_HALVINGS;
        sender->halvings_at_ms = now;
    }
    if (sender->halvings == 0)
        return false;
    sender->halvings--;
    return true;
}

void sky_sender_note_failure(struct sky_sender *sender, const struct sky_sender_slot *slot)
{
    sky_standing_failed(&sender->standing, &slot->call, slot->epoch, sender->parts.now_ms());
}

static void settle_confirmed(struct sky_sender_slot *slot, struct sky_packets *batch)
{
    struct sky_sender *sender = slot->sender;
    size_t count = sky_backlog_release(slot->source->backlog, batch);

    sky_tally_add(sender->parts.tally, SKY_TALLY_confirmed, count);
    slot->source->suspect_count -= sky_sender_smaller(count, slot->source->suspect_count);
    sender->batch_bytes = sky_sender_smaller(
        sender->batch_bytes + sender->most_batch_bytes / GROWTH_STEPS, sender->most_batch_bytes);
}

static void drop_refused(struct sky_sender_slot *slot, struct sky_packets *refused)
{
    struct sky_sender *sender = slot->sender;
    size_t count = sky_backlog_release(slot->source->backlog, refused);

    sky_tally_add(sender->parts.tally, SKY_TALLY_dropped_refused, count);
    sky_log_limited(&sender->refused_limit, SKY_LOG_WARN, "reporter: %s refused %zu segment(s): %s",
                    sky_sender_backend(sender, slot->call.backend), count, slot->call.error);
}

static void settle_refused(struct sky_sender_slot *slot)
{
    struct sky_packets *packets = &slot->call.packets;

    if (packets->count > 1 && take_halving(slot->sender)) {
        slot->source->suspect_count = packets->count;
        sky_backlog_return(slot->source->backlog, packets);
        return;
    }
    slot->source->suspect_count = 0;
    drop_refused(slot, packets);
}

/* What may have arrived is sent again unless the user would rather lose it than count it twice. */
static void settle_unclear(struct sky_sender_slot *slot)
{
    struct sky_sender *sender = slot->sender;
    struct sky_packets *unclear = &slot->call.unclear;

    if (!sender->parts.options->drops_unclear) {
        sky_backlog_return(slot->source->backlog, unclear);
        return;
    }
    size_t count = sky_backlog_release(slot->source->backlog, unclear);
    sky_tally_add(sender->parts.tally, SKY_TALLY_dropped_unclear, count);
    sky_log_limited(&sender->unclear_limit, SKY_LOG_WARN,
                    "reporter: %s did not confirm %zu segment(s), they are dropped: %s",
                    sky_sender_backend(sender, slot->call.backend), count, slot->call.error);
}

void sky_sender_settle_single(struct sky_sender_slot *slot)
{
    if (slot->call.unclear.count > 0)
        settle_unclear(slot);
    if (slot->call.confirmed.count > 0)
        settle_confirmed(slot, &slot->call.confirmed);
    if (slot->call.refused.count > 0)
        drop_refused(slot, &slot->call.refused);
}

static void settle_kept(struct sky_sender_slot *slot)
{
    struct sky_sender *sender = slot->sender;

    if (slot->call.outcome == SKY_OUTCOME_LATE && sender->batch_bytes / 2 >= MIN_BATCH_BYTES)
        sender->batch_bytes /= 2;
    sky_backlog_return(slot->source->backlog, &slot->call.packets);
}

static void measure(const struct sky_sender_slot *slot)
{
    const struct sky_sender *sender = slot->sender;

    const struct sky_call *call = &slot->call;

    sky_histogram_add(&sender->parts.tally->batch_segments,
                      call->packets.count + call->confirmed.count + call->refused.count +
                          call->unclear.count);
    sky_histogram_add(&sender->parts.tally->call_ms,
                      (uint64_t)(sender->parts.now_ms() - slot->started_ms));
}

void sky_sender_settle(struct sky_call *call)
{
    struct sky_sender_slot *slot = call->owner;
    struct sky_sender *sender = slot->sender;

    slot->is_busy = false;
    sky_standing_count(&sender->standing, call);
    measure(slot);
    sky_sender_settle_single(slot);
    switch (call->outcome) {
    case SKY_OUTCOME_CONFIRMED:
        sky_standing_answered(&sender->standing, call, slot->epoch);
        settle_confirmed(slot, &call->packets);
        break;
    case SKY_OUTCOME_REFUSED:
        sky_standing_answered(&sender->standing, call, slot->epoch);
        settle_refused(slot);
        break;
    default:
        sky_sender_note_failure(sender, slot);
        settle_kept(slot);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: properties, keepAlive -> batches, several calls at a time -> confirmed -> freed.
 *
 * Failures, by the outcome of a call (transport.h):
 * - refused: one of the batch is poison. Half of it is sent next, then half of the half that has
 * it, and so on, until a single segment is refused and dropped: the others get through.
 * - unavailable, late: the batch goes back, the next backend is tried, then a pause (backends.h).
 * - denied, unsupported: the same with a long pause, and a line in the log that says what to do.
 * - memory is out: as unavailable.
 * - a transport heard of single segments: those are settled, and the outcome is of the others.
 * A batch that was sent and not answered may have arrived: it is sent again, or dropped when
 * reporter.on_unclear says so. */
#include "reporter/sender.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/courier.h"
#include "reporter/sender_inside.h"

/* A batch must be small against the backlog, or calls under way would hold most of it. */
static size_t fit_batch(const struct sky_sender_parts *parts)
{
    return sky_sender_smaller(
        sky_sender_smaller(parts->options->batch_bytes, parts->ops->max_batch_bytes),
        parts->backlog->max_bytes / (2 * MAX_BATCHES));
}

static void attach_courier(struct sky_sender *sender)
{
    const struct sky_sender_parts *parts = &sender->parts;

    if (parts->courier == NULL)
        return;
    sky_courier_attach(parts->courier, &(struct sky_courier_way){
                                           .ops = parts->ops,
                                           .transport = sender->transport,
                                           .standing = &sender->standing,
                                           .batch_bytes = sender->most_batch_bytes,
                                           .now_ms = parts->now_ms,
                                       });
}

struct sky_sender *sky_sender_new(const struct sky_sender_parts *parts)
{
    struct sky_sender *sender = calloc(1, sizeof(*sender));

    if (sender == NULL)
        return NULL;
    assert(parts->options->backend_count > 0);
    sender->parts = *parts;
    sender->batch_bytes = sender->most_batch_bytes = fit_batch(parts);
    sender->live.backlog = parts->backlog;
    sender->readback.backlog = parts->readback;
    sender->halvings = MAX_HALVINGS;
    sender->halvings_at_ms = parts->now_ms();
    sky_standing_init(&sender->standing, parts->options->backends, parts->options->backend_count);
    sender->standing.credentials_option = parts->ops->credentials_option;
    sender->standing.tally = parts->tally;
    sender->standing.status = parts->status;
    for (size_t i = 0; i < MAX_CALLS; i++)
        sender->slots[i].sender = sender;
    bool has_heartbeat =
        sky_heartbeat_init(&sender->heartbeat, parts->options, sender->halvings_at_ms);
    sender->transport = parts->ops->create(parts->options);
    if (!has_heartbeat || sender->transport == NULL) {
        sky_sender_destroy(sender);
        return NULL;
    }
    attach_courier(sender);
    return sender;
}

void sky_sender_flush(struct sky_sender *sender)
{
    sender->is_flushing = true;
}

void sky_sender_finish(struct sky_sender *sender)
{
    sender->is_finishing = true;
    sender->is_flushing = true;
    sky_backends_hurry(&sender->standing.backends, sender->parts.now_ms());
}

/* Heartbeat. The packets stay its own: the call's list is only emptied. */

static void on_probe_done(struct sky_sender *sender, const struct sky_call *call)
{
    bool is_working = call->outcome == SKY_OUTCOME_CONFIRMED;

    sky_heartbeat_probed(&sender->heartbeat, is_working);
    if (!is_working)
        return;
    sky_backends_prefer(&sender->standing.backends);
    sky_log(SKY_LOG_INFO, "reporter: %s answers again", sky_sender_backend(sender, call->backend));
}

static void on_beat_done(struct sky_call *call)
{
    struct sky_sender_slot *slot = call->owner;
    struct sky_sender *sender = slot->sender;

    slot->is_busy = false;
    call->packets = (struct sky_packets){0};
    if (slot->is_probe) {
        on_probe_done(sender, call);
        return;
    }
    sky_standing_count(&sender->standing, call);
    bool is_answered = call->outcome == SKY_OUTCOME_CONFIRMED ||
                       call->outcome == SKY_OUTCOME_REFUSED ||
                       call->outcome == SKY_OUTCOME_UNSUPPORTED;
    if (!is_answered) {
        sky_sender_note_failure(sender, slot);
        return;
    }
    sky_standing_answered(&sender->standing, call, slot->epoch);
    sky_standing_tell(&sender->standing, call);
    sky_heartbeat_answered(&sender->heartbeat, call);
}

static size_t busy_batches(const struct sky_sender *sender)
{
    size_t count = 0;

    for (size_t i = 1; i < MAX_CALLS; i++)
        count += sender->slots[i].is_busy;
    return count;
}

/* Heartbeat and records take turns: a call of theirs goes beside the batches. */
static bool is_beside_busy(const struct sky_sender *sender)
{
    return sender->slots[0].is_busy ||
           (sender->parts.courier != NULL && sky_courier_is_busy(sender->parts.courier));
}

/* As long as no answer has come, one call at a time shows whether the backend works. */
static bool may_call(const struct sky_sender *sender)
{
    return sender->standing.backends.is_up ||
           (busy_batches(sender) == 0 && !is_beside_busy(sender));
}

static bool start(struct sky_sender *sender, struct sky_sender_slot *slot)
{
    slot->call.owner = slot;
    slot->epoch = sender->standing.backends.epoch;
    slot->started_ms = sender->parts.now_ms();
    slot->is_busy = sender->parts.ops->start(sender->transport, &slot->call);
    if (slot->is_busy)
        return true;
    slot->call.outcome = SKY_OUTCOME_UNAVAILABLE;
    strcpy(slot->call.error, "memory is out");
    sky_sender_note_failure(sender, slot);
    return false;
}

static void start_beat(struct sky_sender *sender)
{
    struct sky_sender_slot *slot = &sender->slots[0];

    if (!sky_heartbeat_is_due(&sender->heartbeat) || sender->is_finishing ||
        is_beside_busy(sender) || !may_call(sender))
        return;
    slot->call = (struct sky_call){.done = on_beat_done};
    slot->is_probe =
        sky_heartbeat_fill(&sender->heartbeat, &slot->call, sender->standing.backends.current);
    if (!start(sender, slot))
        slot->call.packets = (struct sky_packets){0};
}

static void run_courier(struct sky_sender *sender)
{
    if (sender->parts.courier == NULL || is_beside_busy(sender) || !may_call(sender))
        return;
    /* The instance has become another, as far as OAP is told. */
    struct sky_packet *properties = sky_courier_take_properties(sender->parts.courier);
    if (properties != NULL)
        sky_heartbeat_renew(&sender->heartbeat, properties);
    sky_courier_run(sender->parts.courier);
}

static struct sky_sender_slot *free_slot(struct sky_sender *sender)
{
    for (size_t i = 1; i < MAX_CALLS; i++) {
        if (!sender->slots[i].is_busy)
            return &sender->slots[i];
    }
    return NULL;
}

static bool has_live_batch(const struct sky_sender *sender)
{
    const struct sky_packets *queue = &sender->parts.backlog->queue;

    return queue->count > 0 && (sender->is_flushing || sender->live.suspect_count > 0 ||
                                queue->bytes >= sender->batch_bytes);
}

/* What is to be sent now; NULL when nothing is. */
static struct sky_sender_source *choose_source(struct sky_sender *sender)
{
    if (has_live_batch(sender))
        return &sender->live;
    if (!sender->is_finishing && sender->parts.readback->queue.count > 0)
        return &sender->readback;
    return NULL;
}

/* false when no batch could start. */
static bool start_batch(struct sky_sender *sender)
{
    struct sky_sender_slot *slot = free_slot(sender);
    struct sky_sender_source *source = choose_source(sender);

    if (slot == NULL || source == NULL || !may_call(sender))
        return false;
    /* The search for poison goes one step at a time. */
    if (source->suspect_count > 0 && busy_batches(sender) > 0)
        return false;
    size_t most = SIZE_MAX;
    if (source->suspect_count > 0)
        most = source->suspect_count > 1 ? source->suspect_count / 2 : 1;
    slot->is_probe = false;
    slot->source = source;
    slot->call = (struct sky_call){.kind = SKY_CALL_SEGMENTS,
                                   .backend = sender->standing.backends.current,
                                   .done = sky_sender_settle};
    sky_backlog_take(source->backlog, most, sender->batch_bytes, &slot->call.packets);
    if (start(sender, slot))
        return true;
    sky_backlog_return(source->backlog, &slot->call.packets);
    return false;
}

int64_t sky_sender_run(struct sky_sender *sender)
{
    int64_t now = sender->parts.now_ms();

    if (!sender->is_finishing)
        sky_heartbeat_schedule(&sender->heartbeat, sender->standing.backends.current != 0, now);
    int64_t next_beat = sender->is_finishing ? INT64_MAX : sender->heartbeat.next_ms;
    if (sender->parts.backlog->queue.count == 0)
        sender->is_flushing = sender->is_finishing;
    if (sky_backends_ready(&sender->standing.backends, now)) {
        start_beat(sender);
        run_courier(sender);
        while (sky_backends_ready(&sender->standing.backends, now) && start_batch(sender))
            continue;
    }
    if (sky_backends_ready(&sender->standing.backends, now))
        return next_beat;
    return sender->standing.backends.ready_ms < next_beat ? sender->standing.backends.ready_ms
                                                          : next_beat;
}

bool sky_sender_waits_for_records(const struct sky_sender *sender)
{
    return sender->parts.courier != NULL && sky_courier_count(sender->parts.courier) > 0 &&
           !sky_standing_is_away(&sender->standing);
}

bool sky_sender_wait(struct sky_sender *sender, int wake_fd, int timeout_ms)
{
    return sender->parts.ops->wait(sender->transport, wake_fd, timeout_ms);
}

bool sky_sender_is_up(const struct sky_sender *sender)
{
    return sender->standing.backends.is_up;
}

bool sky_sender_is_away(const struct sky_sender *sender)
{
    return sky_standing_is_away(&sender->standing);
}

void sky_sender_destroy(struct sky_sender *sender)
{
    if (sender == NULL)
        return;
    for (size_t i = 0; i < MAX_CALLS; i++) {
        struct sky_sender_slot *slot = &sender->slots[i];
        if (!slot->is_busy)
            continue;
        sender->parts.ops->cancel(sender->transport, &slot->call);
        if (slot->call.kind != SKY_CALL_SEGMENTS)
            continue;
        sky_sender_settle_single(slot);
        sky_backlog_return(slot->source->backlog, &slot->call.packets);
    }
    if (sender->parts.courier != NULL)
        sky_courier_detach(sender->parts.courier);
    if (sender->transport != NULL)
        sender->parts.ops->destroy(sender->transport);
    sky_heartbeat_fini(&sender->heartbeat);
    free(sender);
}

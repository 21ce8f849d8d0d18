/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: offer (any thread) -> gather -> one call at a time, each with records of one kind ->
 * confirmed -> freed.
 *
 * Failures:
 * - no room: the new record is freed, counted.
 * - meters that wait while newer ones come: the older go, counted; they are of no use any more.
 * - refused: the batch is dropped, counted. Texts are valid UTF-8 and sizes are bounded, so there
 * is no single bad record to search for.
 * - unavailable, late, denied: records go back to the queue, meters are dropped.
 * - unsupported, as an old OAP answers: that kind is off, with one line in the log, until another
 *   backend is in use or an hour has passed. Records of that kind are dropped, counted. */
#include "reporter/courier.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/log.h"

#define OFF_MS (3600 * INT64_C(1000))

/* The kinds that travel here. */
enum { LOG, EVENT, METERS, KINDS };

/* Why a record was dropped. */
enum reason { REFUSED, UNSUPPORTED, OLD, UNSENT, REASONS };

static const struct {
    const char *name; /* in the log */
    enum sky_packet_kind packet;
    enum sky_tally_row confirmed;
    enum sky_tally_row dropped[REASONS];
} kinds[KINDS] = {
    [LOG] = {"log records",
             SKY_PACKET_LOG,
             SKY_TALLY_log_confirmed,
             {SKY_TALLY_log_refused, SKY_TALLY_log_unsupported, SKY_TALLY_log_unsent,
              SKY_TALLY_log_unsent}},
    [EVENT] = {"events",
               SKY_PACKET_EVENT,
               SKY_TALLY_event_confirmed,
               {SKY_TALLY_event_refused, SKY_TALLY_event_unsupported, SKY_TALLY_event_unsent,
                SKY_TALLY_event_unsent}},
    [METERS] = {"meters",
                SKY_PACKET_METERS,
                SKY_TALLY_meters_confirmed,
                {SKY_TALLY_meters_refused, SKY_TALLY_meters_unsupported, SKY_TALLY_meters_unsent,
                 SKY_TALLY_meters_unsent}},
};

struct queue {
    struct sky_packets packets;
    bool is_off;
    size_t off_backend;
    int64_t off_until_ms;
    bool told_off;
    struct sky_log_limit refused_limit;
};

struct sky_courier {
    size_t max_bytes;
    struct sky_tally *tally;
    /* Under the lock. */
    struct {
        pthread_mutex_t lock;
        struct sky_packets inbox;
        struct sky_packet *properties;
        size_t queued_bytes; /* of all queues and the call, as gather last saw them */
        uint64_t offered[KINDS], full[KINDS];
    } shared;
    /* Of the reporter thread alone. */
    struct sky_courier_way way;
    struct queue queues[KINDS];
    size_t next; /* the kind that is looked at first */
    struct sky_call call;
    unsigned epoch; /* of the backends, when the call was started */
    bool is_busy;
    size_t call_kind;
    struct sky_log_limit full_limit;
};

static size_t kind_of(const struct sky_packet *packet)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (packet->kind == kinds[i].packet)
            return i;
    }
    assert(!"a kind that does not travel here");
    abort();
}

struct sky_courier *sky_courier_new(size_t max_bytes, struct sky_tally *tally)
{
    struct sky_courier *courier = calloc(1, sizeof(*courier));

    if (courier == NULL)
        return NULL;
    courier->max_bytes = max_bytes;
    courier->tally = tally;
    pthread_mutex_init(&courier->shared.lock, NULL);
    return courier;
}

void sky_courier_destroy(struct sky_courier *courier)
{
    if (courier == NULL)
        return;
    assert(!courier->is_busy);
    sky_packets_free(&courier->shared.inbox);
    free(courier->shared.properties);
    for (size_t i = 0; i < KINDS; i++)
        sky_packets_free(&courier->queues[i].packets);
    pthread_mutex_destroy(&courier->shared.lock);
    free(courier);
}

/* Under the lock. Returns what is to be freed: the packet, or the properties it replaces. */
static struct sky_packet *put(struct sky_courier *courier, struct sky_packet *packet)
{
    if (packet->kind == SKY_PACKET_PROPERTIES) {
        struct sky_packet *old = courier->shared.properties;
        courier->shared.properties = packet;
        return old;
    }
    size_t kind = kind_of(packet);
    courier->shared.offered[kind]++;
    if (courier->shared.queued_bytes + courier->shared.inbox.bytes + sky_packet_cost(packet) >
        courier->max_bytes) {
        courier->shared.full[kind]++;
        return packet;
    }
    sky_packets_add(&courier->shared.inbox, packet);
    return NULL;
}

bool sky_courier_offer(struct sky_courier *courier, struct sky_packet *packet)
{
    pthread_mutex_lock(&courier->shared.lock);
    struct sky_packet *left = put(courier, packet);
    bool is_high = courier->shared.inbox.bytes > courier->max_bytes / 2;
    pthread_mutex_unlock(&courier->shared.lock);
    free(left);
    return is_high;
}

void sky_courier_add_counts(struct sky_courier *courier, struct sky_reporter_counters *counters)
{
    pthread_mutex_lock(&courier->shared.lock);
    counters->log_offered += courier->shared.offered[LOG];
    counters->log_full += courier->shared.full[LOG];
    counters->event_offered += courier->shared.offered[EVENT];
    counters->event_full += courier->shared.full[EVENT];
    counters->meters_offered += courier->shared.offered[METERS];
    counters->meters_full += courier->shared.full[METERS];
    pthread_mutex_unlock(&courier->shared.lock);
}

static void drop(struct sky_courier *courier, size_t kind, struct sky_packets *packets,
                 enum reason reason)
{
    sky_tally_add(courier->tally, kinds[kind].dropped[reason], sky_packets_free(packets));
}

static bool is_off(struct sky_courier *courier, struct queue *queue)
{
    if (queue->is_off && (queue->off_backend != courier->way.standing->backends.current ||
                          courier->way.now_ms() >= queue->off_until_ms))
        queue->is_off = false;
    return queue->is_off;
}

static void enqueue(struct sky_courier *courier, struct sky_packet *packet)
{
    size_t kind = kind_of(packet);
    struct queue *queue = &courier->queues[kind];

    if (kind == METERS)
        drop(courier, kind, &queue->packets, OLD);
    sky_packets_add(&queue->packets, packet);
    if (courier->way.ops != NULL && is_off(courier, queue))
        drop(courier, kind, &queue->packets, UNSUPPORTED);
}

static size_t held_bytes(const struct sky_courier *courier)
{
    size_t bytes = courier->call.packets.bytes;

    for (size_t i = 0; i < KINDS; i++)
        bytes += courier->queues[i].packets.bytes;
    return bytes;
}

void sky_courier_gather(struct sky_courier *courier)
{
    pthread_mutex_lock(&courier->shared.lock);
    struct sky_packets inbox = courier->shared.inbox;
    courier->shared.inbox = (struct sky_packets){0};
    courier->shared.queued_bytes = held_bytes(courier) + inbox.bytes;
    bool is_full = courier->shared.queued_bytes > courier->max_bytes / 8 * 7;
    pthread_mutex_unlock(&courier->shared.lock);
    struct sky_packet *packet;
    while ((packet = sky_packets_shift(&inbox)) != NULL)
        enqueue(courier, packet);
    if (is_full)
        sky_log_limited(&courier->full_limit, SKY_LOG_WARN,
                        "reporter: the room for log records is full, new ones are dropped");
}

struct sky_packet *sky_courier_take_properties(struct sky_courier *courier)
{
    pthread_mutex_lock(&courier->shared.lock);
    struct sky_packet *properties = courier->shared.properties;
    courier->shared.properties = NULL;
    pthread_mutex_unlock(&courier->shared.lock);
    return properties;
}

void sky_courier_attach(struct sky_courier *courier, const struct sky_courier_way *way)
{
    courier->way = *way;
}

bool sky_courier_is_busy(const struct sky_courier *courier)
{
    return courier->is_busy;
}

size_t sky_courier_count(const struct sky_courier *courier)
{
    size_t count = courier->queues[LOG].packets.count + courier->queues[EVENT].packets.count;

    return count + (courier->is_busy ? courier->call.packets.count : 0);
}

static void switch_off(struct sky_courier *courier, size_t kind)
{
    struct queue *queue = &courier->queues[kind];
    const struct sky_call *call = &courier->call;

    queue->is_off = true;
    queue->off_backend = call->backend;
    queue->off_until_ms = courier->way.now_ms() + OFF_MS;
    if (!queue->told_off)
        sky_log(SKY_LOG_INFO, "reporter: %s takes no %s, none are sent: %s",
                courier->way.standing->names[call->backend], kinds[kind].name, call->error);
    queue->told_off = true;
    drop(courier, kind, &courier->call.packets, UNSUPPORTED);
    drop(courier, kind, &queue->packets, UNSUPPORTED);
}

static void put_back(struct sky_courier *courier, size_t kind)
{
    if (kind == METERS)
        drop(courier, kind, &courier->call.packets, OLD);
    else
        sky_packets_prepend(&courier->queues[kind].packets, &courier->call.packets);
}

static void settle_refused(struct sky_courier *courier, size_t kind, struct sky_packets *refused)
{
    sky_log_limited(&courier->queues[kind].refused_limit, SKY_LOG_WARN,
                    "reporter: %s refused %zu %s: %s",
                    courier->way.standing->names[courier->call.backend], refused->count,
                    kinds[kind].name, courier->call.error);
    drop(courier, kind, refused, REFUSED);
}

/* What a transport heard of single records. */
static void settle_single(struct sky_courier *courier, size_t kind)
{
    sky_tally_add(courier->tally, kinds[kind].confirmed,
                  sky_packets_free(&courier->call.confirmed));
    if (courier->call.refused.count > 0)
        settle_refused(courier, kind, &courier->call.refused);
}

static void on_done(struct sky_call *call)
{
    struct sky_courier *courier = call->owner;
    struct sky_standing *standing = courier->way.standing;
    size_t kind = courier->call_kind;

    courier->is_busy = false;
    sky_standing_count(standing, call);
    settle_single(courier, kind);
    if (call->outcome == SKY_OUTCOME_CONFIRMED || call->outcome == SKY_OUTCOME_REFUSED ||
        call->outcome == SKY_OUTCOME_UNSUPPORTED)
        sky_standing_answered(standing, call, courier->epoch);
    switch (call->outcome) {
    case SKY_OUTCOME_CONFIRMED:
        sky_tally_add(courier->tally, kinds[kind].confirmed, sky_packets_free(&call->packets));
        break;
    case SKY_OUTCOME_REFUSED:
        settle_refused(courier, kind, &call->packets);
        break;
    case SKY_OUTCOME_UNSUPPORTED:
        switch_off(courier, kind);
        break;
    default:
        sky_standing_failed(standing, call, courier->epoch, courier->way.now_ms());
        put_back(courier, kind);
    }
}

static void fill_call(struct sky_courier *courier, size_t kind)
{
    struct sky_packets *queue = &courier->queues[kind].packets;
    size_t most = courier->way.batch_bytes;

    courier->call = (struct sky_call){.kind = sky_call_of(kinds[kind].packet),
                                      .backend = courier->way.standing->backends.current,
                                      .done = on_done,
                                      .owner = courier};
    do
        sky_packets_add(&courier->call.packets, sky_packets_shift(queue));
    while (queue->count > 0 && courier->call.packets.bytes + sky_packet_cost(queue->first) <= most);
}

static void start(struct sky_courier *courier, size_t kind)
{
    fill_call(courier, kind);
    courier->call_kind = kind;
    courier->epoch = courier->way.standing->backends.epoch;
    courier->is_busy = courier->way.ops->start(courier->way.transport, &courier->call);
    if (courier->is_busy)
        return;
    courier->call.outcome = SKY_OUTCOME_UNAVAILABLE;
    strcpy(courier->call.error, "memory is out");
    sky_standing_failed(courier->way.standing, &courier->call, courier->epoch,
                        courier->way.now_ms());
    put_back(courier, kind);
}

void sky_courier_run(struct sky_courier *courier)
{
    for (size_t i = 0; i < KINDS && !courier->is_busy; i++) {
        size_t kind = courier->next;
        courier->next = (courier->next + 1) % KINDS;
        if (courier->queues[kind].packets.count == 0)
            continue;
        start(courier, kind);
        return;
    }
}

void sky_courier_detach(struct sky_courier *courier)
{
    if (!courier->is_busy)
        return;
    courier->way.ops->cancel(courier->way.transport, &courier->call);
    courier->is_busy = false;
    settle_single(courier, courier->call_kind);
    put_back(courier, courier->call_kind);
}

void sky_courier_give_up(struct sky_courier *courier)
{
    for (size_t i = 0; i < KINDS; i++)
        drop(courier, i, &courier->queues[i].packets, UNSENT);
}

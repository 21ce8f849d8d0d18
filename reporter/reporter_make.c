/* SPDX-License-Identifier: Apache-2.0 */
/* A reporter's parts, made and taken apart, and their shares of reporter.memory. */
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "reporter/courier.h"
#include "reporter/packets.h"
#include "reporter/reporter.h"
#include "reporter/reporter_parts.h"
#include "reporter/transport.h"

#define MIN_RING_SLOTS 1024
/* What a ring's slots are sized for. */
#define USUAL_PACKET_BYTES 512

/* Memory: an eighth is the rings', a sixteenth the inbox's and the courier's each, the rest the
 * backlog's. With a spool an eighth is of what waits to be written, and an eighth of what moves
 * there and back. */

static size_t ring_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 8 / (options->worker_count > 0 ? options->worker_count : 1);
}

static size_t inbox_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 16;
}

static size_t courier_bytes(const struct sky_reporter_options *options)
{
    return options->memory_bytes / 16;
}

static bool has_spool(const struct sky_reporter_options *options)
{
    return options->spool.path != NULL && options->spool.path[0] != '\0';
}

static size_t backlog_bytes(const struct sky_reporter_options *options)
{
    size_t bytes = options->memory_bytes - options->memory_bytes / 8 - inbox_bytes(options) -
                   courier_bytes(options);

    return has_spool(options) ? bytes - options->memory_bytes / 4 : bytes;
}

static size_t ring_slots(size_t bytes)
{
    size_t slots = MIN_RING_SLOTS;

    while (slots < SKY_RING_MAX_SLOTS && slots < bytes / USUAL_PACKET_BYTES)
        slots *= 2;
    return slots;
}

static bool make_rings(struct sky_reporter *reporter)
{
    size_t bytes = ring_bytes(&reporter->options);

    reporter->rings = calloc(reporter->options.worker_count + 1, sizeof(struct sky_ring *));
    if (reporter->rings == NULL)
        return false;
    for (size_t i = 0; i < reporter->options.worker_count; i++) {
        reporter->rings[i] = sky_ring_new(ring_slots(bytes), bytes);
        if (reporter->rings[i] == NULL)
            return false;
    }
    return true;
}

static bool make_sender(struct sky_reporter *reporter, const struct sky_transport_ops *ops)
{
    const struct sky_sender_parts parts = {
        .options = &reporter->options,
        .ops = ops,
        .backlog = &reporter->own.backlog,
        .readback = &reporter->own.spill.readback,
        .tally = &reporter->tally,
        .status = &reporter->status,
        .now_ms = sky_reporter_now_ms,
        .courier = reporter->courier,
    };

    reporter->own.sender = sky_sender_new(&parts);
    return reporter->own.sender != NULL;
}

static void wake(void *reporter)
{
    sky_reporter_wake(reporter);
}

static bool make_spool(struct sky_reporter *reporter)
{
    const struct sky_reporter_options *options = &reporter->options;
    size_t part = options->memory_bytes / 32;

    reporter->own.spill.live = &reporter->own.backlog;
    if (!has_spool(options))
        return true;
    reporter->spool = sky_spool_new(&(struct sky_spool_settings){
        .path = options->spool.path,
        .max_bytes = options->spool.max_bytes,
        .pending_bytes = options->memory_bytes / 8,
        .chunk_bytes = part < options->batch_bytes ? part : options->batch_bytes,
        .sync = options->spool.sync,
        .maker_count = options->worker_count + 1,
        .wake = wake,
        .wake_argument = reporter,
    });
    reporter->own.spill.spool = reporter->spool;
    reporter->own.spill.move_bytes = part;
    reporter->own.spill.rate_bytes = options->spool.rate_bytes;
    return reporter->spool != NULL;
}

static bool make_parts(struct sky_reporter *reporter, const struct sky_transport_ops *ops)
{
    const struct sky_reporter_options *options = &reporter->options;

    reporter->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reporter->wake_fd < 0 || !make_rings(reporter))
        return false;
    reporter->lacks = ops != NULL ? ops->lacks : ~0u;
    reporter->courier = sky_courier_new(courier_bytes(options), &reporter->tally);
    if (reporter->courier == NULL)
        return false;
    if (ops == NULL || options->local_enabled) {
        reporter->local = sky_local_new(options->local_bytes);
        if (reporter->local == NULL)
            return false;
    }
    return ops == NULL || (make_spool(reporter) && make_sender(reporter, ops));
}

struct sky_reporter *sky_reporter_new_with(const struct sky_reporter_options *options,
                                           const struct sky_transport_ops *ops)
{
    struct sky_reporter *reporter = calloc(1, sizeof(*reporter));

    if (reporter == NULL)
        return NULL;
    reporter->options = *options;
    reporter->own.backlog.max_bytes = backlog_bytes(options);
    sky_inbox_init(&reporter->inbox, inbox_bytes(options));
    sky_tally_init(&reporter->tally);
    sky_status_init(&reporter->status);
    if (make_parts(reporter, ops))
        return reporter;
    sky_reporter_destroy(reporter);
    return NULL;
}

struct sky_reporter *sky_reporter_new(const struct sky_reporter_options *options)
{
    static const struct sky_transport_ops *const transports[] = {
        [SKY_PROTOCOL_LOCAL] = NULL,
        [SKY_PROTOCOL_GRPC] = &sky_transport_grpc,
        [SKY_PROTOCOL_HTTP] = &sky_transport_http,
        [SKY_PROTOCOL_KAFKA] = &sky_transport_kafka,
    };

    if (options->protocol != SKY_PROTOCOL_LOCAL &&
        curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    return sky_reporter_new_with(options, transports[options->protocol]);
}

void sky_reporter_destroy(struct sky_reporter *reporter)
{
    if (reporter == NULL)
        return;
    for (size_t i = 0; reporter->rings != NULL && i < reporter->options.worker_count; i++)
        sky_ring_destroy(reporter->rings[i]);
    free(reporter->rings);
    sky_sender_destroy(reporter->own.sender);
    sky_courier_destroy(reporter->courier);
    sky_packets_free(&reporter->own.backlog.queue);
    sky_packets_free(&reporter->own.spill.readback.queue);
    sky_spool_destroy(reporter->spool);
    sky_inbox_fini(&reporter->inbox);
    sky_local_destroy(reporter->local);
    if (reporter->wake_fd >= 0)
        close(reporter->wake_fd);
    sky_status_fini(&reporter->status);
    free(reporter);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A sender with a fake transport, a backlog of numbered segments, and a clock that tests move. */
#ifndef SKY_TESTS_UNIT_SENDER_FIXTURE_H
#define SKY_TESTS_UNIT_SENDER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reporter/sender.h"
#include "tests/unit/fake_transport.h"
#include "tests/unit/numbered_packet.h"

enum { SIZE = 100, BATCH = 10 };

static int64_t clock_ms;

static inline int64_t read_clock(void)
{
    return clock_ms;
}

static inline size_t packet_cost(void)
{
    return sizeof(struct sky_packet) + SIZE + 16;
}

static struct {
    struct sky_reporter_options options;
    struct sky_backlog backlog, readback;
    struct sky_tally tally;
    struct sky_status status;
    struct sky_sender *sender;
    uint32_t pushed, dropped;
} all;

static inline void make_sender(void)
{
    const struct sky_sender_parts parts = {.options = &all.options,
                                           .ops = &fake_ops,
                                           .backlog = &all.backlog,
                                           .readback = &all.readback,
                                           .tally = &all.tally,
                                           .status = &all.status,
                                           .now_ms = read_clock};
    all.sender = sky_sender_new(&parts);
    assert_non_null(all.sender);
}

static inline void begin(size_t backend_count)
{
    static const char *const backends[] = {"first:1", "second:2", "third:3"};

    memset(&fake, 0, sizeof(fake));
    memset(&all, 0, sizeof(all));
    clock_ms = 1000000;
    all.options = (struct sky_reporter_options){.backends = backends,
                                                .backend_count = backend_count,
                                                .authentication = "",
                                                .service = "shop",
                                                .instance = "shop@host",
                                                .batch_bytes = BATCH * packet_cost(),
                                                .batch_interval_ms = 1000,
                                                .heartbeat_ms = 30000,
                                                .properties_every = 10};
    all.backlog.max_bytes = 20000 * packet_cost();
    sky_status_init(&all.status);
    sky_tally_init(&all.tally);
    make_sender();
}

static inline uint64_t count_of(enum sky_tally_row row)
{
    return sky_tally_read(&all.tally, row);
}

static inline void assert_sum(void)
{
    assert_int_equal(all.pushed, count_of(SKY_TALLY_confirmed) +
                                     count_of(SKY_TALLY_dropped_refused) +
                                     count_of(SKY_TALLY_dropped_unclear) + all.dropped +
                                     sky_backlog_count(&all.backlog));
}

static inline void end(void)
{
    sky_sender_destroy(all.sender);
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(all.backlog.taken_count, 0);
    assert_int_equal(all.backlog.taken_bytes, 0);
    assert_sum();
    sky_packets_free(&all.backlog.queue);
    sky_status_fini(&all.status);
}

static inline void push(size_t count)
{
    while (count-- > 0)
        all.dropped += sky_backlog_add(&all.backlog, numbered_packet(all.pushed++, SIZE));
}

/* As a transport that hears of single segments: what the next fake_end is not about. */
static inline void fake_tell(size_t index, size_t confirmed, size_t refused)
{
    struct sky_call *call = fake.calls[index];

    if (call->kind != SKY_CALL_SEGMENTS)
        return;
    for (; confirmed > 0 && call->packets.count > 0; confirmed--)
        sky_packets_add(&call->confirmed, sky_packets_shift(&call->packets));
    for (; refused > 0 && call->packets.count > 0; refused--)
        sky_packets_add(&call->refused, sky_packets_shift(&call->packets));
}

/* The properties and the keepAlive of the start, confirmed. */
static inline void greet(void)
{
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_PROPERTIES);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
}

static inline void flush(void)
{
    sky_sender_flush(all.sender);
    sky_sender_run(all.sender);
}

#endif

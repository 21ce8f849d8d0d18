/* SPDX-License-Identifier: Apache-2.0 */
/* The sender's decisions, with a fake transport and a clock that tests move. */
#include "reporter/sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "propagation/ids.h"
#include "reporter/log.h"
#include "tests/unit/fake_transport.h"
#include "tests/unit/numbered_packet.h"

enum { SIZE = 100, BATCH = 10 };

static int64_t clock_ms;

static int64_t read_clock(void)
{
    return clock_ms;
}

static size_t packet_cost(void)
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

static void begin(size_t backend_count)
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

static uint64_t count_of(enum sky_tally_row row)
{
    return sky_tally_read(&all.tally, row);
}

static void assert_sum(void)
{
    assert_int_equal(all.pushed, count_of(SKY_TALLY_confirmed) +
                                     count_of(SKY_TALLY_dropped_refused) +
                                     count_of(SKY_TALLY_dropped_unclear) + all.dropped +
                                     sky_backlog_count(&all.backlog));
}

static void end(void)
{
    sky_sender_destroy(all.sender);
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(all.backlog.taken_count, 0);
    assert_int_equal(all.backlog.taken_bytes, 0);
    assert_sum();
    sky_packets_free(&all.backlog.queue);
    sky_status_fini(&all.status);
}

static void push(size_t count)
{
    while (count-- > 0)
        all.dropped += sky_backlog_add(&all.backlog, numbered_packet(all.pushed++, SIZE));
}

/* As a transport that hears of single segments: what the next fake_end is not about. */
static void fake_tell(size_t index, size_t confirmed, size_t refused)
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
static void greet(void)
{
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_PROPERTIES);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
}

static void flush(void)
{
    sky_sender_flush(all.sender);
    sky_sender_run(all.sender);
}

static void test_says_who_we_are_first(void **state)
{
    (void)state;
    begin(1);
    push(BATCH);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_PROPERTIES);
    assert_int_equal(fake.calls[0]->packets.count, 1);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 2);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    assert_int_equal(fake.calls[1]->kind, SKY_CALL_SEGMENTS);
    end();
}

static void test_heartbeat(void **state)
{
    (void)state;
    begin(1);
    greet();
    for (int beat = 1; beat <= 20; beat++) {
        int64_t next = sky_sender_run(all.sender);
        assert_int_equal(next, clock_ms + 30000);
        assert_int_equal(fake.call_count, 0);
        clock_ms = next;
        if (beat % 10 == 0) {
            sky_sender_run(all.sender);
            assert_int_equal(fake.calls[0]->kind, SKY_CALL_PROPERTIES);
            fake_end(0, SKY_OUTCOME_CONFIRMED);
        }
        sky_sender_run(all.sender);
        assert_int_equal(fake.call_count, 1);
        assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
        fake_end(0, SKY_OUTCOME_CONFIRMED);
    }
    assert_int_equal(count_of(SKY_TALLY_calls_ok), 2 + 20 + 2);
    end();
}

static void test_full_batches_go_at_once_and_the_rest_at_the_flush(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(BATCH - 1);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 0);
    push(2 + BATCH);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 2);
    assert_int_equal(fake.calls[0]->packets.count, BATCH);
    assert_int_equal(fake.calls[1]->packets.count, BATCH);
    flush();
    assert_int_equal(fake.call_count, 3);
    assert_int_equal(fake.calls[2]->packets.count, 1);
    while (fake.call_count > 0)
        fake_end(0, SKY_OUTCOME_CONFIRMED);
    assert_int_equal(count_of(SKY_TALLY_confirmed), 2 * BATCH + 1);
    assert_true(all.status.is_connected);

    /* A flush is over when the queue was empty. */
    sky_sender_run(all.sender);
    push(1);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 0);
    end();
}

static void test_few_calls_at_a_time(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(10 * BATCH);
    flush();
    assert_int_equal(fake.call_count, 3);
    clock_ms += 30000;
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 4);
    fake_end(1, SKY_OUTCOME_CONFIRMED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 4);
    end();
}

static void test_nothing_is_lost_while_the_backend_is_away(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(5 * BATCH);
    flush();
    assert_int_equal(fake.call_count, 3);
    for (int i = 0; i < 3; i++)
        fake_end(0, SKY_OUTCOME_UNAVAILABLE);
    assert_false(all.status.is_connected);
    assert_string_equal(all.status.last_error, "first:1: outcome 2");
    assert_int_equal(sky_backlog_count(&all.backlog), 5 * BATCH);

    int64_t pause = sky_sender_run(all.sender) - clock_ms;
    assert_in_range(pause, 500, 1000);
    assert_int_equal(fake.call_count, 0);
    clock_ms += pause - 1;
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 0);
    clock_ms += 1;
    /* One call shows whether it is back, then the others follow. */
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 1);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 1);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 3);
    while (fake.call_count > 0) {
        fake_end(0, SKY_OUTCOME_CONFIRMED);
        flush();
    }
    assert_int_equal(count_of(SKY_TALLY_confirmed), 5 * BATCH);
    end();
}

static void test_backends_in_turn_and_back_to_the_first(void **state)
{
    (void)state;
    begin(3);
    greet();
    push(1);
    flush();
    assert_int_equal(fake.calls[0]->backend, 0);
    fake_end(0, SKY_OUTCOME_UNAVAILABLE);
    flush();
    assert_int_equal(fake.calls[0]->backend, 1);
    fake_end(0, SKY_OUTCOME_LATE);
    flush();
    assert_int_equal(fake.calls[0]->backend, 2);
    fake_end(0, SKY_OUTCOME_CONFIRMED);

    /* The heartbeat asks the first; without an answer it goes where the segments go. */
    clock_ms += 30000;
    sky_sender_run(all.sender);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    assert_int_equal(fake.calls[0]->backend, 0);
    fake_end(0, SKY_OUTCOME_UNAVAILABLE);
    push(1);
    flush();
    assert_int_equal(fake.call_count, 2);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    assert_int_equal(fake.calls[0]->backend, 2);
    assert_int_equal(fake.calls[1]->backend, 2);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    fake_end(0, SKY_OUTCOME_CONFIRMED);

    clock_ms += 30000;
    sky_sender_run(all.sender);
    assert_int_equal(fake.calls[0]->backend, 0);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    push(1);
    flush();
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->backend, 0);
    end();
}

static void test_wrong_token_is_tried_slowly(void **state)
{
    (void)state;
    begin(1);
    push(1);
    sky_sender_run(all.sender);
    fake_end(0, SKY_OUTCOME_DENIED);
    assert_in_range(sky_sender_run(all.sender) - clock_ms, 30000, 60000);
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(sky_backlog_count(&all.backlog), 1);
    end();
}

static void test_collector_without_management(void **state)
{
    (void)state;
    begin(1);
    push(1);
    sky_sender_run(all.sender);
    fake_end(0, SKY_OUTCOME_UNSUPPORTED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_KEEP_ALIVE);
    fake_end(0, SKY_OUTCOME_UNSUPPORTED);
    flush();
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_SEGMENTS);
    assert_true(all.status.is_connected);
    assert_non_null(strstr(all.status.last_error, "outcome 5"));
    end();
}

static void test_late_batches_become_smaller(void **state)
{
    (void)state;
    begin(1);
    all.backlog.max_bytes = 64u << 20;
    sky_sender_destroy(all.sender);
    all.options.batch_bytes = 1u << 20;
    all.options.heartbeat_ms = 1u << 30;
    sky_tally_init(&all.tally);
    const struct sky_sender_parts parts = {.options = &all.options,
                                           .ops = &fake_ops,
                                           .backlog = &all.backlog,
                                           .readback = &all.readback,
                                           .tally = &all.tally,
                                           .status = &all.status,
                                           .now_ms = read_clock};
    all.sender = sky_sender_new(&parts);
    greet();
    push(2u << 20 >> 7);
    size_t most = 1u << 20;
    for (int i = 0; i < 10; i++) {
        flush();
        assert_in_range(fake.calls[0]->packets.bytes, most - packet_cost(), most);
        while (fake.call_count > 0)
            fake_end(0, fake.call_count == 1 ? SKY_OUTCOME_LATE : SKY_OUTCOME_UNAVAILABLE);
        most = most > 16u << 10 ? most / 2 : most;
        clock_ms += 30000;
    }
    assert_int_equal(most, 16u << 10);
    for (int i = 0; i < 16; i++) {
        push(1);
        flush();
        while (fake.call_count > 0)
            fake_end(0, SKY_OUTCOME_CONFIRMED);
    }
    push(2u << 20 >> 7);
    flush();
    assert_in_range(fake.calls[0]->packets.bytes, (1u << 20) - packet_cost(), 1u << 20);
    end();
}

static void test_out_of_memory_is_a_pause(void **state)
{
    (void)state;
    begin(1);
    push(1);
    fake.is_out_of_memory = true;
    assert_in_range(sky_sender_run(all.sender) - clock_ms, 500, 1000);
    fake.is_out_of_memory = false;
    clock_ms += 1000;
    greet();
    fake.is_out_of_memory = true;
    sky_sender_flush(all.sender);
    assert_in_range(sky_sender_run(all.sender) - clock_ms, 500, 1000);
    assert_int_equal(sky_backlog_count(&all.backlog), 1);
    end();
}

/* Poison: a backend refuses each batch with one of these numbers in it. */

static bool (*is_poison)(uint32_t number);

static bool has_poison(const struct sky_packets *packets)
{
    for (const struct sky_packet *packet = packets->first; packet != NULL; packet = packet->next) {
        if (is_poison(packet_number(packet)))
            return true;
    }
    return false;
}

/* Until nothing is left; returns the number of calls. */
static size_t send_all(void)
{
    size_t calls = 0;

    for (flush(); fake.call_count > 0; flush()) {
        fake_end(0,
                 has_poison(&fake.calls[0]->packets) ? SKY_OUTCOME_REFUSED : SKY_OUTCOME_CONFIRMED);
        calls++;
        assert_true(calls < 100000);
    }
    assert_int_equal(sky_backlog_count(&all.backlog), 0);
    assert_sum();
    return calls;
}

static uint32_t poison_number;

static bool is_the_one(uint32_t number)
{
    return number == poison_number;
}

static void test_one_poisoned_segment_goes_alone(void **state)
{
    (void)state;
    is_poison = is_the_one;
    for (poison_number = 0; poison_number < BATCH; poison_number++) {
        begin(1);
        greet();
        push(BATCH);
        size_t calls = send_all();
        assert_int_equal(count_of(SKY_TALLY_dropped_refused), 1);
        assert_int_equal(count_of(SKY_TALLY_confirmed), BATCH - 1);
        /* ceil(log2(10)) halvings, the whole, the single one, and what was behind it. */
        assert_true(calls <= 7);
        end();
    }
}

static void test_poison_among_calls_at_a_time(void **state)
{
    (void)state;
    is_poison = is_the_one;
    poison_number = 3;
    begin(1);
    greet();
    push(50 * BATCH);
    send_all();
    assert_int_equal(count_of(SKY_TALLY_dropped_refused), 1);
    assert_int_equal(count_of(SKY_TALLY_confirmed), 50 * BATCH - 1);
    end();
}

static bool is_each(uint32_t number)
{
    (void)number;
    return true;
}

/* A backend that refuses everything costs few calls, not one a segment. */
static void test_single_outcomes(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(BATCH);
    flush();
    fake_tell(0, 3, 2);
    fake_end(0, SKY_OUTCOME_UNAVAILABLE);
    assert_sum();
    assert_int_equal(count_of(SKY_TALLY_confirmed), 3);
    assert_int_equal(count_of(SKY_TALLY_dropped_refused), 2);
    assert_int_equal(sky_backlog_count(&all.backlog), BATCH - 5);
    clock_ms += 1000;
    flush();
    assert_int_equal(fake.calls[0]->packets.count, BATCH - 5);
    fake_tell(0, BATCH - 6, 1);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    assert_sum();
    assert_int_equal(sky_backlog_count(&all.backlog), 0);
    end();
}

/* Ends the call of a batch with three of its segments in doubt. */
static void end_in_doubt(void)
{
    struct sky_call *call = fake.calls[0];

    for (int i = 0; i < 3; i++)
        sky_packets_add(&call->unclear, sky_packets_shift(&call->packets));
    fake_end(0, SKY_OUTCOME_UNAVAILABLE);
}

static void test_unclear_is_sent_again(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(BATCH);
    flush();
    end_in_doubt();
    assert_int_equal(sky_backlog_count(&all.backlog), BATCH);
    clock_ms += 1000;
    flush();
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    assert_int_equal(count_of(SKY_TALLY_confirmed), BATCH);
    end();
}

static void test_unclear_is_dropped_if_so_wanted(void **state)
{
    (void)state;
    begin(1);
    all.options.drops_unclear = true;
    greet();
    push(BATCH);
    flush();
    end_in_doubt();
    assert_int_equal(count_of(SKY_TALLY_dropped_unclear), 3);
    assert_int_equal(sky_backlog_count(&all.backlog), BATCH - 3);
    assert_int_equal(all.tally.batch_segments.counts[2],
                     1); /* a call with more than 3 and up to 10 */
    clock_ms += 1000;
    flush();
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    end();
}

/* What was read back from the spool goes when nothing of the backlog is due, and back there. */
static void test_readback_comes_second(void **state)
{
    (void)state;
    begin(1);
    greet();
    sky_packets_add(&all.readback.queue, numbered_packet(1000, SIZE));
    push(3 * BATCH);
    sky_sender_run(all.sender);
    for (int i = 0; i < 3; i++)
        assert_int_equal(packet_number(fake.calls[i]->packets.first), (uint32_t)i * BATCH);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    push(1); /* which waits for the interval */
    sky_sender_run(all.sender);
    assert_int_equal(packet_number(fake.calls[2]->packets.first), 1000);
    fake_end(2, SKY_OUTCOME_UNAVAILABLE);
    assert_int_equal(sky_backlog_count(&all.readback), 1);
    sky_sender_finish(all.sender);
    while (fake.call_count > 0) {
        assert_int_not_equal(packet_number(fake.calls[0]->packets.first), 1000);
        fake_end(0, SKY_OUTCOME_CONFIRMED);
        sky_sender_run(all.sender);
    }
    assert_int_equal(sky_backlog_count(&all.readback), 1);
    sky_packets_free(&all.readback.queue);
    end();
}

static void test_searching_is_limited(void **state)
{
    (void)state;
    is_poison = is_each;
    begin(1);
    greet();
    push(1000 * BATCH);
    size_t calls = send_all();
    assert_int_equal(count_of(SKY_TALLY_dropped_refused), 1000 * BATCH);
    assert_true(calls < 1000 + 2 * 64);

    /* Time gives the right to search again. */
    is_poison = is_the_one;
    poison_number = all.pushed + 1;
    clock_ms += 1000;
    push(BATCH);
    send_all();
    assert_int_equal(count_of(SKY_TALLY_dropped_refused), 1000 * BATCH + 1);
    end();
}

static void test_finish_sends_at_once(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(1);
    flush();
    fake_end(0, SKY_OUTCOME_DENIED);
    sky_sender_run(all.sender);
    assert_int_equal(fake.call_count, 0);
    sky_sender_finish(all.sender);
    clock_ms += 30000;
    assert_int_equal(sky_sender_run(all.sender), INT64_MAX);
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_SEGMENTS);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    end();
}

static void test_destroy_gives_batches_back(void **state)
{
    (void)state;
    begin(1);
    greet();
    push(3 * BATCH);
    clock_ms += 30000;
    flush();
    assert_int_equal(fake.call_count, 4);
    end();
}

/* Whatever happens in whatever order, each segment is confirmed once, dropped once, or still there.
 */
static void test_random_faults(void **state)
{
    (void)state;
    struct sky_ids random;
    const uint8_t entropy[32] = {7};

    sky_log_set_level(SKY_LOG_ERROR);
    sky_ids_init(&random, entropy);
    for (int round = 0; round < 30; round++) {
        begin(1 + sky_ids_random(&random) % 3);
        all.backlog.max_bytes = 300 * packet_cost();
        for (int step = 0; step < 2000; step++) {
            uint64_t dice = sky_ids_random(&random);
            switch (dice % 5) {
            case 0:
                push(dice >> 8 & 63);
                break;
            case 1:
                clock_ms += (int64_t)(dice >> 8 & 2047);
                break;
            case 2:
                sky_sender_flush(all.sender);
                break;
            default:
                if (fake.call_count == 0)
                    break;
                fake_tell((dice >> 8) % fake.call_count, dice >> 24 & 3, dice >> 32 & 1);
                fake_end((dice >> 8) % fake.call_count,
                         (enum sky_outcome)((dice >> 16) % (SKY_OUTCOME_UNSUPPORTED + 1)));
            }
            sky_sender_run(all.sender);
            assert_sum();
            assert_true(sky_backlog_bytes(&all.backlog) <= all.backlog.max_bytes);
        }
        sky_sender_finish(all.sender);
        for (sky_sender_run(all.sender); fake.call_count > 0; sky_sender_run(all.sender))
            fake_end(0, SKY_OUTCOME_CONFIRMED);
        assert_int_equal(sky_backlog_count(&all.backlog), 0);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_who_we_are_first),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_full_batches_go_at_once_and_the_rest_at_the_flush),
        cmocka_unit_test(test_few_calls_at_a_time),
        cmocka_unit_test(test_nothing_is_lost_while_the_backend_is_away),
        cmocka_unit_test(test_backends_in_turn_and_back_to_the_first),
        cmocka_unit_test(test_wrong_token_is_tried_slowly),
        cmocka_unit_test(test_collector_without_management),
        cmocka_unit_test(test_late_batches_become_smaller),
        cmocka_unit_test(test_out_of_memory_is_a_pause),
        cmocka_unit_test(test_one_poisoned_segment_goes_alone),
        cmocka_unit_test(test_poison_among_calls_at_a_time),
        cmocka_unit_test(test_single_outcomes),
        cmocka_unit_test(test_unclear_is_sent_again),
        cmocka_unit_test(test_unclear_is_dropped_if_so_wanted),
        cmocka_unit_test(test_readback_comes_second),
        cmocka_unit_test(test_searching_is_limited),
        cmocka_unit_test(test_finish_sends_at_once),
        cmocka_unit_test(test_destroy_gives_batches_back),
        cmocka_unit_test(test_random_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the sender does with answers that are not about a whole batch: poison among segments, single
 * outcomes, segments in doubt, and all of them at random. */
#include "propagation/ids.h"
#include "reporter/log.h"
#include "tests/unit/sender_fixture.h"

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
        cmocka_unit_test(test_one_poisoned_segment_goes_alone),
        cmocka_unit_test(test_poison_among_calls_at_a_time),
        cmocka_unit_test(test_searching_is_limited),
        cmocka_unit_test(test_single_outcomes),
        cmocka_unit_test(test_unclear_is_sent_again),
        cmocka_unit_test(test_unclear_is_dropped_if_so_wanted),
        cmocka_unit_test(test_random_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

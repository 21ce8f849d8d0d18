/* SPDX-License-Identifier: Apache-2.0 */
/* When the sender sends what, and to whom. */
#include "tests/unit/sender_fixture.h"

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
    make_sender();
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
        cmocka_unit_test(test_readback_comes_second),
        cmocka_unit_test(test_finish_sends_at_once),
        cmocka_unit_test(test_destroy_gives_batches_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

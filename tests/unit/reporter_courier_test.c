/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of log records, events and meters, with a fake transport and a clock that tests
 * move. */
#include "reporter/courier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_transport.h"
#include "tests/unit/numbered_packet.h"

enum { SIZE = 100, BATCH = 4, ROOM = 20 };

static int64_t clock_ms;

static int64_t read_clock(void)
{
    return clock_ms;
}

static struct {
    struct sky_tally tally;
    struct sky_status status;
    struct sky_standing standing;
    struct sky_transport *transport;
    struct sky_courier *courier;
} all;

static size_t cost(void)
{
    return sizeof(struct sky_packet) + SIZE + 16;
}

static int begin(void **state)
{
    static const char *const backends[] = {"first:1", "second:2"};

    (void)state;
    memset(&fake, 0, sizeof(fake));
    memset(&all, 0, sizeof(all));
    clock_ms = 1000000;
    sky_status_init(&all.status);
    sky_standing_init(&all.standing, backends, 2);
    all.standing.credentials_option = "reporter.authentication";
    all.standing.tally = &all.tally;
    all.standing.status = &all.status;
    all.transport = fake_ops.create(NULL);
    all.courier = sky_courier_new(ROOM * cost(), &all.tally);
    if (all.courier == NULL)
        return -1;
    sky_courier_attach(all.courier, &(struct sky_courier_way){.ops = &fake_ops,
                                                              .transport = all.transport,
                                                              .standing = &all.standing,
                                                              .batch_bytes = BATCH * cost(),
                                                              .now_ms = read_clock});
    return 0;
}

static uint64_t count_of(enum sky_tally_row row)
{
    return sky_tally_read(&all.tally, row);
}

static int end(void **state)
{
    struct sky_reporter_counters c = {0};

    (void)state;
    sky_courier_detach(all.courier);
    sky_courier_give_up(all.courier);
    sky_courier_add_counts(all.courier, &c);
    /* none disappears */
    assert_int_equal(c.log_offered, c.log_full + count_of(SKY_TALLY_log_confirmed) +
                                        count_of(SKY_TALLY_log_refused) +
                                        count_of(SKY_TALLY_log_unsupported) +
                                        count_of(SKY_TALLY_log_unsent));
    assert_int_equal(c.meters_offered, c.meters_full + count_of(SKY_TALLY_meters_confirmed) +
                                           count_of(SKY_TALLY_meters_refused) +
                                           count_of(SKY_TALLY_meters_unsupported) +
                                           count_of(SKY_TALLY_meters_unsent));
    sky_courier_destroy(all.courier);
    fake_ops.destroy(all.transport);
    sky_status_fini(&all.status);
    return 0;
}

static bool offer(enum sky_packet_kind kind, uint32_t number)
{
    struct sky_packet *packet = numbered_packet(number, SIZE);

    packet->kind = (uint8_t)kind;
    return sky_courier_offer(all.courier, packet);
}

static void run(void)
{
    sky_courier_gather(all.courier);
    sky_courier_run(all.courier);
}

static void test_a_call_has_one_kind(void **state)
{
    (void)state;
    offer(SKY_PACKET_LOG, 1);
    offer(SKY_PACKET_EVENT, 2);
    offer(SKY_PACKET_LOG, 3);
    offer(SKY_PACKET_METERS, 4);
    run();
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_LOGS);
    assert_int_equal(fake.calls[0]->packets.count, 2);
    assert_int_equal(packet_number(fake.calls[0]->packets.first), 1);
    run();
    assert_int_equal(fake.call_count, 1); /* one at a time */
    assert_int_equal(sky_courier_count(all.courier), 3);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    run();
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_EVENTS);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    run();
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_METERS);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    run();
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(sky_courier_count(all.courier), 0);
    assert_int_equal(count_of(SKY_TALLY_log_confirmed), 2);
    assert_int_equal(count_of(SKY_TALLY_event_confirmed), 1);
    assert_int_equal(count_of(SKY_TALLY_meters_confirmed), 1);
    assert_int_equal(count_of(SKY_TALLY_calls_ok), 3);
}

static void test_a_batch_is_bounded(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6; i++)
        offer(SKY_PACKET_LOG, i);
    run();
    assert_int_equal(fake.calls[0]->packets.count, BATCH);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    run();
    assert_int_equal(fake.calls[0]->packets.count, 2);
}

static void test_no_room_drops_the_new(void **state)
{
    struct sky_reporter_counters c = {0};

    (void)state;
    bool was_high = false;
    for (uint32_t i = 0; i < ROOM + 5; i++)
        was_high |= offer(SKY_PACKET_LOG, i);
    assert_true(was_high);
    sky_courier_add_counts(all.courier, &c);
    assert_int_equal(c.log_full, 5);
    run();
    offer(SKY_PACKET_LOG, 99); /* what a call holds takes room too */
    sky_courier_add_counts(all.courier, &c);
    assert_int_equal(c.log_full - 5, 6);
    assert_int_equal(packet_number(fake.calls[0]->packets.first), 0);
}

static void test_records_wait_for_a_backend_in_order(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        offer(SKY_PACKET_LOG, i);
    run();
    offer(SKY_PACKET_LOG, 3);
    fake_end(0, SKY_OUTCOME_UNAVAILABLE);
    assert_int_equal(sky_courier_count(all.courier), 3);
    assert_int_equal(all.standing.backends.current, 1); /* the next is tried */
    run();
    assert_int_equal(fake.calls[0]->packets.count, 4);
    assert_int_equal(packet_number(fake.calls[0]->packets.first), 0);
    assert_int_equal(packet_number(fake.calls[0]->packets.last), 3);
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    assert_int_equal(count_of(SKY_TALLY_log_confirmed), 4);
}

static void test_old_meters_are_not_sent(void **state)
{
    (void)state;
    offer(SKY_PACKET_METERS, 1);
    offer(SKY_PACKET_METERS, 2);
    run();
    assert_int_equal(fake.calls[0]->packets.count, 1);
    assert_int_equal(packet_number(fake.calls[0]->packets.first), 2);
    assert_int_equal(sky_courier_count(all.courier) - 1, 0);
    fake_end(0, SKY_OUTCOME_LATE);
    run();
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(count_of(SKY_TALLY_meters_unsent), 2);
}

static void test_a_refused_batch_is_dropped(void **state)
{
    (void)state;
    offer(SKY_PACKET_LOG, 1);
    offer(SKY_PACKET_LOG, 2);
    run();
    fake_end(0, SKY_OUTCOME_REFUSED);
    run();
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(count_of(SKY_TALLY_log_refused), 2);
    assert_true(all.standing.backends.is_up);
}

static void test_an_unknown_call_is_not_tried_again(void **state)
{
    (void)state;
    offer(SKY_PACKET_LOG, 1);
    offer(SKY_PACKET_EVENT, 1);
    run();
    fake_end(0, SKY_OUTCOME_UNSUPPORTED);
    assert_true(all.standing.backends.is_up); /* segments go on */
    assert_int_equal(all.standing.backends.current, 0);
    offer(SKY_PACKET_LOG, 2);
    run();
    assert_int_equal(fake.call_count, 1);
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_EVENTS); /* and other kinds */
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    run();
    assert_int_equal(fake.call_count, 0);
    assert_int_equal(count_of(SKY_TALLY_log_unsupported), 2);
    clock_ms += 3600000;
    offer(SKY_PACKET_LOG, 3);
    run();
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_LOGS); /* OAP may be another one by now */
    fake_end(0, SKY_OUTCOME_UNSUPPORTED);
    all.standing.backends.current = 1;
    offer(SKY_PACKET_LOG, 4);
    run();
    assert_int_equal(fake.calls[0]->kind, SKY_CALL_LOGS); /* so may the next backend */
    fake_end(0, SKY_OUTCOME_CONFIRMED);
    assert_int_equal(count_of(SKY_TALLY_log_unsupported), 3);
}

static void test_the_newest_properties_win(void **state)
{
    (void)state;
    assert_null(sky_courier_take_properties(all.courier));
    offer(SKY_PACKET_PROPERTIES, 1);
    offer(SKY_PACKET_PROPERTIES, 2);
    struct sky_packet *properties = sky_courier_take_properties(all.courier);
    assert_int_equal(packet_number(properties), 2);
    free(properties);
    assert_null(sky_courier_take_properties(all.courier));
    offer(SKY_PACKET_PROPERTIES, 3); /* freed at the end */
}

static void test_memory_is_out(void **state)
{
    (void)state;
    offer(SKY_PACKET_LOG, 1);
    fake.is_out_of_memory = true;
    run();
    assert_int_equal(fake.call_count, 0);
    fake.is_out_of_memory = false;
    run();
    assert_int_equal(fake.calls[0]->packets.count, 1);
    /* the call is cancelled at the end, and the record counted as unsent */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_call_has_one_kind),
        TEST(test_a_batch_is_bounded),
        TEST(test_no_room_drops_the_new),
        TEST(test_records_wait_for_a_backend_in_order),
        TEST(test_old_meters_are_not_sent),
        TEST(test_a_refused_batch_is_dropped),
        TEST(test_an_unknown_call_is_not_tried_again),
        TEST(test_the_newest_properties_win),
        TEST(test_memory_is_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The stitch on a real loop with real sockets: too much, rubbish, and calls from inside a report.
 */
#include <stdlib.h>

#include "tests/unit/stitch_fixture.h"

#define LONG_HOLD_MS 60000
#define MUCH (1024 * 1024)

static char no_token[] = "";

static void too_many_waiting_the_oldest_goes(void **state)
{
    struct fixture fixture;
    struct fixture_entry entries[4];
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, 3 * 4096);
    for (uint64_t i = 0; i < 4; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        fixture_answer(&fixture, &entries[i], "1");
        fixture_finish(&fixture, &entries[i]);
    }
    assert_int_equal(entries[0].reports, 1);
    assert_int_equal(entries[1].reports + entries[2].reports + entries[3].reports, 0);
    /* A message for the oldest takes room, but not its own. */
    int fd = fixture_connect(&fixture);
    fixture_send_part(fd, 2, 0, false, 4000);
    fixture_turn(&fixture);
    assert_int_equal(entries[1].reports, 1);
    assert_int_equal(entries[1].entry.part.arrived, 1);
    assert_int_equal(entries[2].reports, 1);
    assert_int_equal(entries[3].reports, 0);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_overflow), 2);
    close(fd);
    sky_stitch_flush(fixture.stitch);
    for (size_t i = 0; i < 4; i++)
        fixture_entry_fini(&entries[i]);
    fixture_fini(&fixture);
}

/* Requests still running cannot be given up: their messages are dropped, and they do not wait. */
static void messages_of_running_requests_are_bounded(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, 6000);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    fixture_send_part(fd, 1, 0, false, 5000);
    fixture_send_part(fd, 1, 1, true, 5000);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_overflow), 1);
    fixture_answer(&fixture, &entry, "2");
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_true(fixture_is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    /* The bytes are free again. */
    fixture_track(&fixture, &entry, 2);
    fixture_send_part(fd, 2, 0, true, 5000);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 2);
    fixture_answer(&fixture, &entry, "1");
    fixture_finish(&fixture, &entry);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void a_helper_may_connect_anew_between_parts(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "+");
    fixture_finish(&fixture, &entry);
    for (unsigned seq = 0; seq < 3; seq++) {
        int fd = fixture_connect(&fixture);
        fixture_send_part(fd, 1, seq, seq == 2, 0);
        close(fd);
        fixture_turn(&fixture);
        assert_int_equal(entry.reports, seq == 2);
    }
    assert_int_equal(entry.entry.part.span_count, 3);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void garbage_disturbs_nobody(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "1");
    fixture_finish(&fixture, &entry);
    int garbage = fixture_connect(&fixture), fd = fixture_connect(&fixture);
    uint32_t random = 1;
    for (unsigned i = 0; i < 100; i++) {
        char bytes[64];
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (char)((random = random * 1664525 + 1013904223) >> 24);
        fixture_send(garbage, bytes, 1 + i % sizeof(bytes));
        if (i % 10 == 9)
            fixture_turn(&fixture);
    }
    fixture_send_message(fd, 1);
    fixture_wait(&fixture, &entry.reports, 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_bad), 100);
    close(garbage);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

/* SOCK_DGRAM would have kept ten of them. */
static void a_burst_is_taken_whole(void **state)
{
    enum { COUNT = 200 };
    static struct fixture_entry entries[COUNT];
    struct fixture fixture;
    unsigned reports = 0;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < COUNT; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        fixture_answer(&fixture, &entries[i], "1");
        fixture_finish(&fixture, &entries[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++)
        fixture_send_message(fd, i + 1);
    for (int turn = 0; turn < 1 + COUNT / 16; turn++)
        fixture_turn(&fixture);
    for (size_t i = 0; i < COUNT; i++) {
        reports += entries[i].reports;
        fixture_entry_fini(&entries[i]);
    }
    assert_int_equal(reports, COUNT);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), COUNT);
    close(fd);
    fixture_fini(&fixture);
}

/* While one entry finishes, another's message is found: its report must not harm the first. */
static void one_report_inside_anothers_finish(void **state)
{
    struct fixture fixture;
    struct fixture_entry first, second;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &first, 1);
    fixture_track(&fixture, &second, 2);
    fixture_answer(&fixture, &first, "1");
    fixture_finish(&fixture, &first);
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 1);
    fixture_send_message(fd, 2);
    fixture_answer(&fixture, &second, "1");
    fixture_finish(&fixture, &second);
    assert_int_equal(first.reports, 1);
    assert_int_equal(second.reports, 1);
    close(fd);
    fixture_entry_fini(&first);
    fixture_entry_fini(&second);
    fixture_fini(&fixture);
}

static void free_entry(struct sky_stitch_entry *super)
{
    struct fixture_entry *entry = H2O_STRUCT_FROM_MEMBER(struct fixture_entry, entry, super);
    h2o_mem_clear_pool(&entry->pool);
    free(entry);
}

/* Each way to a report, with an entry that is gone after it; AddressSanitizer looks on. */
static void a_report_may_free_the_entry(void **state)
{
    static const char *const mores[] = {"0", "1", "+", "1", "1"};
    struct fixture fixture;
    (void)state;
    fixture_begin(&fixture, 5, 2 * 4096 + 2000);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < 5; i++) {
        struct fixture_entry *entry = malloc(sizeof(*entry));
        fixture_track(&fixture, entry, i);
        entry->entry.report = free_entry;
        if (i == 1)
            fixture_send_message(fd, i); /* reported by finish */
        fixture_answer(&fixture, entry, mores[i]);
        fixture_finish(&fixture, entry); /* the fifth makes the third overflow */
    }
    fixture_send_message(fd, 3);
    fixture_turn(&fixture);
    for (int i = 0; i < 100 && fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout) == 0; i++)
        h2o_evloop_run(fixture.ctx.loop, 100);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 2);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_overflow), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 1);
    close(fd);
    fixture_fini(&fixture);
}

static void a_channel_that_fails_is_counted(void **state)
{
    struct fixture fixture;
    char directory[] = "/nonexistent";
    (void)state;
    fixture_init(&fixture, directory, no_token, LONG_HOLD_MS, MUCH);
    assert_true(sky_text_equal(sky_stitch_channel(fixture.stitch, true), SKY_TEXT("-")));
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_channel_failed), 1);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_waiting_the_oldest_goes),
        cmocka_unit_test(messages_of_running_requests_are_bounded),
        cmocka_unit_test(a_helper_may_connect_anew_between_parts),
        cmocka_unit_test(garbage_disturbs_nobody),
        cmocka_unit_test(a_burst_is_taken_whole),
        cmocka_unit_test(one_report_inside_anothers_finish),
        cmocka_unit_test(a_report_may_free_the_entry),
        cmocka_unit_test(a_channel_that_fails_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

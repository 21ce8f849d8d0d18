/* SPDX-License-Identifier: Apache-2.0 */
/* The stitch on a real loop with real sockets: who waits for what, and for how long. */
#include "tests/unit/stitch_fixture.h"

#define LONG_HOLD_MS 60000
#define MUCH (1024 * 1024)

static char channel_off[] = "off", no_token[] = "";

static void a_plain_answer_is_reported_at_once(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "0");
    assert_int_equal(entry.reports, 0);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 0);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void a_message_may_come_before_the_header(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(entry.entry.part.arrived, 1);
    fixture_answer(&fixture, &entry, "1");
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 0);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

/* The helper sends before it makes the header; the loop has not turned since. Also when the
 * helper's connection is still to be accepted. */
static void a_message_in_the_socket_is_found_without_a_turn(void **state)
{
    struct fixture fixture;
    struct fixture_entry entries[2];
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < 2; i++) {
        fixture_track(&fixture, &entries[i], i);
        fixture_send_message(fd, i);
        fixture_answer(&fixture, &entries[i], "1");
        fixture_finish(&fixture, &entries[i]);
        assert_int_equal(entries[i].reports, 1);
        fixture_entry_fini(&entries[i]);
    }
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 0);
    close(fd);
    fixture_fini(&fixture);
}

static void an_announced_message_is_waited_for(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "2");
    fixture_finish(&fixture, &entry);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    int fd = fixture_connect(&fixture);
    fixture_send_part(fd, 1, 0, false, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    fixture_send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_false(fixture_is_size_limited(&fixture, &entry));
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 0);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void a_first_part_announces_the_rest_where_no_answer_can(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    fixture_send_part(fd, 1, 0, false, 0);
    fixture_turn(&fixture);
    fixture_finish(&fixture, &entry);
    fixture_turn(&fixture);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    fixture_send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_false(fixture_is_size_limited(&fixture, &entry));
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 0);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void the_wait_ends_and_what_comes_then_is_late(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, 5, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "+");
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_wait(&fixture, &entry.reports, 1);
    assert_true(fixture_is_size_limited(&fixture, &entry));
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 1);
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 1);
    fixture_send_message(fd, 2);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_late), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_unknown), 1);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

/* An app without the helper never waits; one that has it may have died with a message sent. */
static void a_missing_header_waits_a_turn_where_a_helper_was_seen(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    fixture_answer_without_header(&fixture, &entry);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 2);
    fixture_answer(&fixture, &entry, "0");
    fixture_finish(&fixture, &entry);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 3);
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 3);
    fixture_answer_without_header(&fixture, &entry);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_int_equal(entry.entry.part.arrived, 1);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 4);
    fixture_answer_without_header(&fixture, &entry);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_wait(&fixture, &entry.reports, 1);
    assert_false(fixture_is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 5);
    entry.entry.upstream = "another";
    fixture_answer_without_header(&fixture, &entry);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 0);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 0);
    close(fd);
    fixture_fini(&fixture);
}

static void a_flush_reports_what_waits(void **state)
{
    struct fixture fixture;
    struct fixture_entry entries[3];
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    for (uint64_t i = 0; i < 3; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        fixture_answer(&fixture, &entries[i], "1");
        fixture_finish(&fixture, &entries[i]);
    }
    /* What lies in the socket is taken first. */
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 2);
    sky_stitch_flush(fixture.stitch);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].reports, 1);
        assert_int_equal(fixture_is_size_limited(&fixture, &entries[i]), i != 1);
        fixture_entry_fini(&entries[i]);
    }
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_flushed), 2);
    close(fd);
    fixture_fini(&fixture);
}

static void a_retry_forgets_the_first_attempt(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(entry.entry.part.span_count, 1);
    sky_stitch_retrack(fixture.stitch, &entry.entry, (struct sky_id){0, 2});
    assert_int_equal(entry.entry.part.span_count, 0);
    fixture_send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_late), 1);
    fixture_answer(&fixture, &entry, "1");
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_send_message(fd, 2);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_int_equal(entry.entry.part.span_count, 1);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void an_untracked_entry_gets_nothing(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    sky_stitch_untrack(fixture.stitch, &entry.entry);
    fixture_entry_fini(&entry);
    memset(&entry, 0xff, sizeof(entry));
    int fd = fixture_connect(&fixture);
    fixture_send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_unknown), 1);
    close(fd);
    fixture_fini(&fixture);
}

/* `?`: the message lies in the socket at the end, or there is none; nothing is waited for. */
static void an_unsampled_stream_is_read_at_its_end(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    int fd = fixture_connect(&fixture);
    fixture_turn(&fixture);
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "?");
    fixture_send_message(fd, 1);
    sky_stitch_catch_up(fixture.stitch, &entry.entry);
    assert_true(entry.entry.part.last);
    assert_int_equal(entry.entry.part.span_count, 1);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_false(fixture_is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 2);
    fixture_answer(&fixture, &entry, "?");
    sky_stitch_catch_up(fixture.stitch, &entry.entry);
    assert_int_equal(entry.entry.part.arrived, 0);
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_false(fixture_is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 3);
    fixture_answer(&fixture, &entry, "?");
    sky_stitch_untrack(fixture.stitch, &entry.entry);
    fixture_send_message(fd, 3);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_late), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_unknown), 0);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void without_a_channel_nothing_is_waited_for(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    fixture_init(&fixture, channel_off, no_token, LONG_HOLD_MS, MUCH);
    struct sky_text channel = sky_stitch_channel(fixture.stitch, true);
    assert_true(sky_text_equal(channel, SKY_TEXT("-")));
    fixture_track(&fixture, &entry, 1);
    fixture_answer(&fixture, &entry, "+");
    fixture_finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

/* An abstract name means nothing elsewhere; a file may be on a volume that both share. */
static void the_channel_depends_on_where_the_upstream_is(void **state)
{
    struct fixture fixture;
    char directory[] = "/tmp/sky-stitch-XXXXXX";
    (void)state;
    fixture_begin(&fixture, LONG_HOLD_MS, MUCH);
    assert_int_equal(sky_stitch_channel(fixture.stitch, true).base[0], '@');
    assert_true(sky_text_equal(sky_stitch_channel(fixture.stitch, false), SKY_TEXT("-")));
    fixture_fini(&fixture);

    assert_non_null(mkdtemp(directory));
    fixture_init(&fixture, directory, no_token, LONG_HOLD_MS, MUCH);
    struct sky_text local = sky_stitch_channel(fixture.stitch, true);
    assert_true(sky_text_starts(local, sky_text_of(directory)));
    assert_true(sky_text_equal(sky_stitch_channel(fixture.stitch, false), local));
    fixture_fini(&fixture);
    assert_int_equal(rmdir(directory), 0);
}

static void a_request_that_may_not_be_kept_says_so(void **state)
{
    struct fixture fixture;
    struct sky_stitch_entry entry = {.segment = {0, 1}};
    char value[SKY_STITCH_REQUEST_MAX_BYTES];
    (void)state;
    fixture_init(&fixture, channel_off, no_token, LONG_HOLD_MS, MUCH);
    size_t len = sky_stitch_request_value(fixture.stitch, entry.segment, 1700000000123456, false,
                                          true, value);
    assert_true(sky_text_equal(sky_text(value, len), SKY_TEXT("1;-;1700000000123456;")));
    len = sky_stitch_request_value(fixture.stitch, entry.segment, -5, true, true, value);
    assert_true(sky_text_equal(sky_text(value, len), SKY_TEXT("1;-;0;s")));
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_answer_is_reported_at_once),
        cmocka_unit_test(a_message_may_come_before_the_header),
        cmocka_unit_test(a_message_in_the_socket_is_found_without_a_turn),
        cmocka_unit_test(an_announced_message_is_waited_for),
        cmocka_unit_test(a_first_part_announces_the_rest_where_no_answer_can),
        cmocka_unit_test(the_wait_ends_and_what_comes_then_is_late),
        cmocka_unit_test(a_missing_header_waits_a_turn_where_a_helper_was_seen),
        cmocka_unit_test(a_flush_reports_what_waits),
        cmocka_unit_test(a_retry_forgets_the_first_attempt),
        cmocka_unit_test(an_untracked_entry_gets_nothing),
        cmocka_unit_test(an_unsampled_stream_is_read_at_its_end),
        cmocka_unit_test(without_a_channel_nothing_is_waited_for),
        cmocka_unit_test(the_channel_depends_on_where_the_upstream_is),
        cmocka_unit_test(a_request_that_may_not_be_kept_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

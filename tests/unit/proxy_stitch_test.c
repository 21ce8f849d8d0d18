/* SPDX-License-Identifier: Apache-2.0 */
/* The stitch on a real loop with real sockets: who waits for what, and for how long. */
#include <stdlib.h>

#include "tests/unit/stitch_fixture.h"

#define LONG_HOLD_MS 60000
#define MUCH (1024 * 1024)

static char channel_auto[] = "auto", channel_off[] = "off", no_token[] = "";

static void begin(struct fixture *fixture, uint32_t hold_ms, size_t hold_max)
{
    fixture_init(fixture, channel_auto, no_token, hold_ms, hold_max);
}

static void answer(struct fixture *fixture, struct fixture_entry *entry, const char *more)
{
    char value[128];
    int len = snprintf(value, sizeof(value), "1;7001;1;2;%s;a.b;GET:/c", more);
    sky_stitch_answer(fixture->stitch, &entry->entry, sky_text(value, (size_t)len), 1);
}

static void answer_without_header(struct fixture *fixture, struct fixture_entry *entry)
{
    sky_stitch_answer(fixture->stitch, &entry->entry, sky_text(NULL, 0), 0);
}

static void finish(struct fixture *fixture, struct fixture_entry *entry)
{
    sky_stitch_finish(fixture->stitch, &entry->entry);
}

/* A message for segment `number`, filled up to `size` bytes by a tag. */
static void send_part(int fd, uint64_t number, unsigned seq, bool last, size_t size)
{
    static char bytes[48 * 1024];
    int len =
        snprintf(bytes, sizeof(bytes),
                 "{\"v\":1,\"segment\":\"%032llx\",\"seq\":%u,\"last\":%s,\"component\":7001,"
                 "\"spans\":[{\"id\":%u,\"parent\":0,\"operation\":\"a.b\",\"tags\":[[\"k\",\"",
                 (unsigned long long)number, seq, last ? "true" : "false", seq + 1);
    for (; (size_t)len + 10 < size; len++)
        bytes[len] = 'x';
    len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "\"]]}]}");
    fixture_send(fd, bytes, (size_t)len);
}

static void send_message(int fd, uint64_t number)
{
    send_part(fd, number, 0, true, 0);
}

static bool is_size_limited(struct fixture *fixture, struct fixture_entry *entry)
{
    struct sky_stitch_merged merged;
    struct sky_stitch_window window = {0, 1000};
    sky_stitch_merge(fixture->stitch, &entry->entry, &window, &merged);
    return merged.size_limited;
}

static void a_plain_answer_is_reported_at_once(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer(&fixture, &entry, "0");
    assert_int_equal(entry.reports, 0);
    finish(&fixture, &entry);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(entry.entry.part.arrived, 1);
    answer(&fixture, &entry, "1");
    finish(&fixture, &entry);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < 2; i++) {
        fixture_track(&fixture, &entries[i], i);
        send_message(fd, i);
        answer(&fixture, &entries[i], "1");
        finish(&fixture, &entries[i]);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer(&fixture, &entry, "2");
    finish(&fixture, &entry);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    int fd = fixture_connect(&fixture);
    send_part(fd, 1, 0, false, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_false(is_size_limited(&fixture, &entry));
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    send_part(fd, 1, 0, false, 0);
    fixture_turn(&fixture);
    finish(&fixture, &entry);
    fixture_turn(&fixture);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 0);
    send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_false(is_size_limited(&fixture, &entry));
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
    begin(&fixture, 5, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer(&fixture, &entry, "+");
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_wait(&fixture, &entry.reports, 1);
    assert_true(is_size_limited(&fixture, &entry));
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 1);
    int fd = fixture_connect(&fixture);
    send_message(fd, 1);
    send_message(fd, 2);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer_without_header(&fixture, &entry);
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 2);
    answer(&fixture, &entry, "0");
    finish(&fixture, &entry);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 3);
    int fd = fixture_connect(&fixture);
    send_message(fd, 3);
    answer_without_header(&fixture, &entry);
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_turn(&fixture);
    assert_int_equal(entry.reports, 1);
    assert_int_equal(entry.entry.part.arrived, 1);
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 4);
    answer_without_header(&fixture, &entry);
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    fixture_wait(&fixture, &entry.reports, 1);
    assert_false(is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    fixture_track(&fixture, &entry, 5);
    entry.entry.upstream = "another";
    answer_without_header(&fixture, &entry);
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_held), 0);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 0);
    close(fd);
    fixture_fini(&fixture);
}

static void too_many_waiting_the_oldest_goes(void **state)
{
    struct fixture fixture;
    struct fixture_entry entries[4];
    (void)state;
    begin(&fixture, LONG_HOLD_MS, 3 * 4096);
    for (uint64_t i = 0; i < 4; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        answer(&fixture, &entries[i], "1");
        finish(&fixture, &entries[i]);
    }
    assert_int_equal(entries[0].reports, 1);
    assert_int_equal(entries[1].reports + entries[2].reports + entries[3].reports, 0);
    /* A message for the oldest takes room, but not its own. */
    int fd = fixture_connect(&fixture);
    send_part(fd, 2, 0, false, 4000);
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
    begin(&fixture, LONG_HOLD_MS, 6000);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    send_part(fd, 1, 0, false, 5000);
    send_part(fd, 1, 1, true, 5000);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_overflow), 1);
    answer(&fixture, &entry, "2");
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    assert_true(is_size_limited(&fixture, &entry));
    fixture_entry_fini(&entry);

    /* The bytes are free again. */
    fixture_track(&fixture, &entry, 2);
    send_part(fd, 2, 0, true, 5000);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 2);
    answer(&fixture, &entry, "1");
    finish(&fixture, &entry);
    close(fd);
    fixture_entry_fini(&entry);
    fixture_fini(&fixture);
}

static void a_flush_reports_what_waits(void **state)
{
    struct fixture fixture;
    struct fixture_entry entries[3];
    (void)state;
    begin(&fixture, LONG_HOLD_MS, MUCH);
    for (uint64_t i = 0; i < 3; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        answer(&fixture, &entries[i], "1");
        finish(&fixture, &entries[i]);
    }
    /* What lies in the socket is taken first. */
    int fd = fixture_connect(&fixture);
    send_message(fd, 2);
    sky_stitch_flush(fixture.stitch);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(entries[i].reports, 1);
        assert_int_equal(is_size_limited(&fixture, &entries[i]), i != 1);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    int fd = fixture_connect(&fixture);
    send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(entry.entry.part.span_count, 1);
    sky_stitch_retrack(fixture.stitch, &entry.entry, (struct sky_id){0, 2});
    assert_int_equal(entry.entry.part.span_count, 0);
    send_part(fd, 1, 1, true, 0);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_late), 1);
    answer(&fixture, &entry, "1");
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 0);
    send_message(fd, 2);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    sky_stitch_untrack(fixture.stitch, &entry.entry);
    fixture_entry_fini(&entry);
    memset(&entry, 0xff, sizeof(entry));
    int fd = fixture_connect(&fixture);
    send_message(fd, 1);
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_unknown), 1);
    close(fd);
    fixture_fini(&fixture);
}

static void a_helper_may_connect_anew_between_parts(void **state)
{
    struct fixture fixture;
    struct fixture_entry entry;
    (void)state;
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer(&fixture, &entry, "+");
    finish(&fixture, &entry);
    for (unsigned seq = 0; seq < 3; seq++) {
        int fd = fixture_connect(&fixture);
        send_part(fd, 1, seq, seq == 2, 0);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &entry, 1);
    answer(&fixture, &entry, "1");
    finish(&fixture, &entry);
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
    send_message(fd, 1);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < COUNT; i++) {
        fixture_track(&fixture, &entries[i], i + 1);
        answer(&fixture, &entries[i], "1");
        finish(&fixture, &entries[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++)
        send_message(fd, i + 1);
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
    begin(&fixture, LONG_HOLD_MS, MUCH);
    fixture_track(&fixture, &first, 1);
    fixture_track(&fixture, &second, 2);
    answer(&fixture, &first, "1");
    finish(&fixture, &first);
    int fd = fixture_connect(&fixture);
    send_message(fd, 1);
    send_message(fd, 2);
    answer(&fixture, &second, "1");
    finish(&fixture, &second);
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
    begin(&fixture, 5, 2 * 4096 + 2000);
    int fd = fixture_connect(&fixture);
    for (uint64_t i = 0; i < 5; i++) {
        struct fixture_entry *entry = malloc(sizeof(*entry));
        fixture_track(&fixture, entry, i);
        entry->entry.report = free_entry;
        if (i == 1)
            send_message(fd, i); /* reported by finish */
        answer(&fixture, entry, mores[i]);
        finish(&fixture, entry); /* the fifth makes the third overflow */
    }
    send_message(fd, 3);
    fixture_turn(&fixture);
    for (int i = 0; i < 100 && fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout) == 0; i++)
        h2o_evloop_run(fixture.ctx.loop, 100);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message), 2);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_overflow), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_hold_timeout), 1);
    close(fd);
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
    answer(&fixture, &entry, "+");
    finish(&fixture, &entry);
    assert_int_equal(entry.reports, 1);
    fixture_entry_fini(&entry);
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

/* An abstract name means nothing elsewhere; a file may be on a volume that both share. */
static void the_channel_depends_on_where_the_upstream_is(void **state)
{
    struct fixture fixture;
    char directory[] = "/tmp/sky-stitch-XXXXXX";
    (void)state;
    begin(&fixture, LONG_HOLD_MS, MUCH);
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
        cmocka_unit_test(too_many_waiting_the_oldest_goes),
        cmocka_unit_test(messages_of_running_requests_are_bounded),
        cmocka_unit_test(a_flush_reports_what_waits),
        cmocka_unit_test(a_retry_forgets_the_first_attempt),
        cmocka_unit_test(an_untracked_entry_gets_nothing),
        cmocka_unit_test(a_helper_may_connect_anew_between_parts),
        cmocka_unit_test(garbage_disturbs_nobody),
        cmocka_unit_test(a_burst_is_taken_whole),
        cmocka_unit_test(one_report_inside_anothers_finish),
        cmocka_unit_test(a_report_may_free_the_entry),
        cmocka_unit_test(without_a_channel_nothing_is_waited_for),
        cmocka_unit_test(a_channel_that_fails_is_counted),
        cmocka_unit_test(the_channel_depends_on_where_the_upstream_is),
        cmocka_unit_test(a_request_that_may_not_be_kept_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store, read as its users read it: the JSON of the two pages. */
#include "reporter/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "reporter/packets.h"

struct stored {
    const char *trace_id, *segment_id, *service, *operation;
    int64_t start_ms, end_ms;
    bool error, has_ref;
};

static struct sky_packet *packet_of(const struct stored *stored)
{
    const struct sky_ref ref = {.trace_id = SKY_TEXT("x"), .segment_id = SKY_TEXT("y")};
    const struct sky_span spans[] = {
        {.parent = -1,
         .operation = sky_text_of(stored->operation),
         .start_ms = stored->start_ms,
         .end_ms = stored->end_ms,
         .refs = &ref,
         .ref_count = stored->has_ref},
        {.id = 1,
         .operation = SKY_TEXT("inner"),
         .start_ms = stored->start_ms,
         .end_ms = stored->end_ms,
         .error = stored->error},
    };
    const struct sky_segment segment = {.trace_id = sky_text_of(stored->trace_id),
                                        .segment_id = sky_text_of(stored->segment_id),
                                        .service = sky_text_of(stored->service),
                                        .spans = spans,
                                        .span_count = 2};
    struct sky_packet *packet = sky_segment_pack(&segment);

    assert_non_null(packet);
    return packet;
}

static json_t *parse(char *text)
{
    json_error_t error;

    assert_non_null(text);
    json_t *value = json_loads(text, 0, &error);
    if (value == NULL)
        fail_msg("%s in %s", error.text, text);
    free(text);
    return value;
}

static json_t *list_of(struct sky_local *local, size_t limit, size_t expected)
{
    json_t *page = parse(sky_local_traces(local, limit));
    json_t *list = json_incref(json_object_get(page, "traces"));

    json_decref(page);
    assert_int_equal(json_array_size(list), expected);
    return list;
}

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static json_int_t number_of(const json_t *row, const char *key)
{
    assert_true(json_is_integer(json_object_get(row, key)));
    return json_integer_value(json_object_get(row, key));
}

static void test_a_trace_over_two_services(void **state)
{
    (void)state;
    struct sky_local *local = sky_local_new(1 << 20);
    const struct stored stored[] = {
        {"t1", "s1", "stock", "GET:/stock", 1010, 1020, true, true},
        {"t2", "s2", "shop", "GET:/other", 500, 600, false, false},
        {"t1", "s3", "shop", "GET:/items", 1000, 1050, false, false},
        {"t1", "s4", "stock", "GET:/stock", 1030, 1040, false, true},
    };
    for (size_t i = 0; i < 4; i++)
        sky_local_store(local, packet_of(&stored[i]));

    json_t *list = list_of(local, 100, 2);
    const json_t *row = json_array_get(list, 0);
    assert_string_equal(text_of(row, "traceId"), "t1");
    assert_string_equal(text_of(row, "operation"), "GET:/items");
    assert_string_equal(text_of(row, "service"), "shop");
    assert_int_equal(number_of(row, "startTime"), 1000);
    assert_int_equal(number_of(row, "durationMs"), 50);
    assert_true(json_is_true(json_object_get(row, "isError")));
    assert_int_equal(number_of(row, "segments"), 3);
    assert_int_equal(number_of(row, "spans"), 6);
    const json_t *services = json_object_get(row, "services");
    assert_int_equal(json_array_size(services), 2);
    assert_string_equal(json_string_value(json_array_get(services, 0)), "stock");
    assert_string_equal(json_string_value(json_array_get(services, 1)), "shop");
    row = json_array_get(list, 1);
    assert_string_equal(text_of(row, "traceId"), "t2");
    assert_true(json_is_false(json_object_get(row, "isError")));
    json_decref(list);

    json_t *page = parse(sky_local_trace(local, SKY_TEXT("t1")));
    assert_string_equal(text_of(page, "traceId"), "t1");
    const json_t *segments = json_object_get(page, "segments");
    assert_int_equal(json_array_size(segments), 3);
    assert_string_equal(text_of(json_array_get(segments, 0), "traceSegmentId"), "s1");
    assert_string_equal(text_of(json_array_get(segments, 2), "traceSegmentId"), "s4");
    json_decref(page);
    assert_null(sky_local_trace(local, SKY_TEXT("t")));
    assert_null(sky_local_trace(local, SKY_TEXT("")));
    sky_local_destroy(local);
}

static void test_root_not_yet_there(void **state)
{
    (void)state;
    struct sky_local *local = sky_local_new(1 << 20);
    const struct stored stored[] = {{"t", "s1", "b", "later", 1010, 1020, false, true},
                                    {"t", "s2", "a", "earlier", 1000, 1030, false, true}};
    sky_local_store(local, packet_of(&stored[0]));
    sky_local_store(local, packet_of(&stored[1]));

    json_t *list = list_of(local, 1, 1);
    assert_string_equal(text_of(json_array_get(list, 0), "operation"), "earlier");
    assert_string_equal(text_of(json_array_get(list, 0), "service"), "a");
    json_decref(list);
    sky_local_destroy(local);
}

static void test_newest_first_and_limited(void **state)
{
    (void)state;
    struct sky_local *local = sky_local_new(16 << 20);
    char id[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        sky_local_store(local, packet_of(&(struct stored){id, "s", "a", "o", i, i, false, false}));
    }
    /* An old trace that is heard of again is new. */
    sky_local_store(local, packet_of(&(struct stored){"t7", "r", "a", "o", 9, 9, false, true}));

    json_t *list = list_of(local, 3, 3);
    assert_string_equal(text_of(json_array_get(list, 0), "traceId"), "t7");
    assert_int_equal(number_of(json_array_get(list, 0), "segments"), 2);
    assert_string_equal(text_of(json_array_get(list, 1), "traceId"), "t2999");
    assert_string_equal(text_of(json_array_get(list, 2), "traceId"), "t2998");
    json_decref(list);
    json_decref(list_of(local, SIZE_MAX, SKY_LOCAL_MAX_ROWS));
    json_decref(list_of(local, 0, 0));
    sky_local_destroy(local);
}

static void test_oldest_makes_room(void **state)
{
    (void)state;
    const struct stored stored = {"t", "s", "a", "o", 1, 2, false, false};
    struct sky_packet *packet = packet_of(&stored);
    size_t cost = sky_packet_cost(packet);
    struct sky_local *local = sky_local_new(3 * cost);

    sky_local_store(local, packet);
    for (int i = 0; i < 4; i++)
        sky_local_store(local, packet_of(&stored));
    struct sky_local_totals totals = sky_local_totals(local);
    assert_int_equal(totals.segments, 3);
    assert_int_equal(totals.bytes, 3 * cost);
    assert_int_equal(totals.evicted, 2);
    sky_local_destroy(local);

    local = sky_local_new(cost - 1);
    sky_local_store(local, packet_of(&stored));
    assert_int_equal(sky_local_totals(local).segments, 0);
    json_decref(list_of(local, 10, 0));
    sky_local_destroy(local);
}

/* Ids of foreign segments have any length and any text. */
static void test_long_and_odd_ids(void **state)
{
    (void)state;
    struct sky_local *local = sky_local_new(1 << 20);
    char id[20000];

    static const size_t lengths[] = {1, 126, 127, 128, 129, 16383, 16384, 19999};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        memset(id, 'a', sizeof(id));
        id[0] = '"';
        id[lengths[i]] = '\0';
        sky_local_store(local, packet_of(&(struct stored){id, "s", "a", "o", 1, 2, false, false}));
        if (lengths[i] > 16383)
            continue;
        json_t *page = parse(sky_local_trace(local, sky_text(id, lengths[i])));
        assert_int_equal(strlen(text_of(page, "traceId")), lengths[i]);
        json_decref(page);
    }
    /* A length of three bytes is no id of any agent: all such are one trace without an id. */
    json_decref(list_of(local, 100, 7));
    sky_local_destroy(local);
}

static void test_times_that_overflow(void **state)
{
    (void)state;
    struct sky_local *local = sky_local_new(1 << 20);

    sky_local_store(
        local, packet_of(&(struct stored){"t", "s", "a", "o", INT64_MIN, INT64_MAX, false, false}));
    json_t *list = list_of(local, 10, 1);
    assert_int_equal(number_of(json_array_get(list, 0), "durationMs"), 0);
    json_decref(list);
    sky_local_destroy(local);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trace_over_two_services),
        cmocka_unit_test(test_root_not_yet_there),
        cmocka_unit_test(test_newest_first_and_limited),
        cmocka_unit_test(test_oldest_makes_room),
        cmocka_unit_test(test_long_and_odd_ids),
        cmocka_unit_test(test_times_that_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

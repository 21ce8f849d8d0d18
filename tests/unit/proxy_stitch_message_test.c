/* SPDX-License-Identifier: Apache-2.0 */
/* What single fields become is in tests/vectors/stitch.json; here are bounds, cuts and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "proxy/stitch/stitch_message.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

#define SEGMENT "5e9c0000000000000000000000007a11"
#define HEAD "{\"v\":1,\"segment\":\"" SEGMENT "\""
#define WHOLE                                                                                     \
    HEAD ",\"seq\":2,\"last\":false,\"component\":7001,\"handler\":\"a.b\",\"operation\":\"GET:/" \
         "c\","                                                                                   \
         "\"spans\":[{\"id\":1,\"parent\":0,\"operation\":\"a.b\",\"begin\":1,\"duration\":2,"    \
         "\"tags\":[[\"k\",\"v\"]],\"logs\":[{\"at\":1,\"data\":[[\"event\",\"error\"]]}]}]}"

struct taken {
    h2o_mem_pool_t pool;
    struct sky_app_part part;
    struct sky_stitch_taken how;
};

static enum sky_stitch_message_result read_copy(const char *bytes, size_t len,
                                                struct sky_stitch_message *message)
{
    struct sky_text copy = exact_copy(bytes, len);
    enum sky_stitch_message_result result = sky_stitch_message_read(copy, message);
    exact_free(copy);
    return result;
}

static void take(struct taken *taken, const char *bytes, size_t len)
{
    struct sky_stitch_message message;
    memset(taken, 0, sizeof(*taken));
    h2o_mem_init_pool(&taken->pool);
    taken->part.spans_end = &taken->part.spans;
    assert_int_equal(read_copy(bytes, len, &message), SKY_STITCH_MESSAGE_OK);
    sky_stitch_message_take(&message, &taken->pool, &taken->part, &taken->how);
    sky_stitch_message_fini(&message);
}

/* A message whose one list has `count` times the same element. */
static size_t repeat(char *dst, const char *before, const char *element, size_t count,
                     const char *behind)
{
    size_t len = (size_t)sprintf(dst, "%s", before);
    for (size_t i = 0; i < count; i++)
        len += (size_t)sprintf(dst + len, "%s%s", i != 0 ? "," : "", element);
    return len + (size_t)sprintf(dst + len, "%s", behind);
}

static void the_envelope_is_read(void **state)
{
    struct sky_stitch_message message;
    struct sky_id id;
    (void)state;
    assert_true(sky_id_parse(SKY_TEXT(SEGMENT), &id));
    assert_int_equal(read_copy(WHOLE, sizeof(WHOLE) - 1, &message), SKY_STITCH_MESSAGE_OK);
    assert_true(message.segment.low == id.low && message.segment.high == id.high);
    assert_int_equal(message.seq, 2);
    assert_false(message.last);
    sky_stitch_message_fini(&message);
}

static void the_content_is_taken(void **state)
{
    struct taken taken;
    (void)state;
    take(&taken, WHOLE, sizeof(WHOLE) - 1);
    assert_int_equal(taken.part.component, 7001);
    assert_true(sky_text_equal(taken.part.handler, SKY_TEXT("a.b")));
    assert_true(sky_text_equal(taken.part.operation, SKY_TEXT("GET:/c")));
    assert_int_equal(taken.part.span_count, 1);
    assert_int_equal(taken.part.spans->tag_count, 1);
    assert_int_equal(taken.part.spans->log_count, 1);
    assert_true(taken.how.bytes >= sizeof(struct sky_app_span));
    assert_false(taken.part.truncated);
    h2o_mem_clear_pool(&taken.pool);
}

static void a_cut_message_is_refused(void **state)
{
    struct sky_stitch_message message;
    (void)state;
    for (size_t len = 0; len < sizeof(WHOLE) - 1; len++)
        assert_int_equal(read_copy(WHOLE, len, &message), SKY_STITCH_MESSAGE_BAD);
}

static void lists_are_bounded(void **state)
{
    static const struct {
        const char *before, *element, *behind;
        size_t max;
    } lists[] = {
        {HEAD ",\"spans\":[", "{\"id\":7}", "]}", SKY_STITCH_MAX_SPANS},
        {HEAD ",\"spans\":[{\"id\":1,\"tags\":[", "[\"k\",\"v\"]", "]}]}", SKY_STITCH_MAX_TAGS},
        {HEAD ",\"spans\":[{\"id\":1,\"logs\":[", "{\"data\":[[\"k\",\"v\"]]}", "]}]}",
         SKY_STITCH_MAX_LOGS},
        {HEAD ",\"spans\":[{\"id\":1,\"logs\":[{\"data\":[", "[\"k\",\"v\"]", "]}]}]}",
         SKY_STITCH_MAX_DATA},
    };
    static char bytes[SKY_STITCH_MESSAGE_MAX_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (size_t more = 0; more < 2; more++) {
            struct taken taken;
            size_t len = repeat(bytes, lists[i].before, lists[i].element, lists[i].max + more,
                                lists[i].behind);
            take(&taken, bytes, len);
            const struct sky_app_span *span = taken.part.spans;
            size_t counts[] = {taken.part.span_count, span->tag_count, span->log_count,
                               span->log_count != 0 ? span->logs[0].data_count : 0};
            assert_int_equal(counts[i], lists[i].max);
            assert_int_equal(taken.how.limited, more == 1);
            assert_int_equal(taken.part.truncated, more == 1);
            h2o_mem_clear_pool(&taken.pool);
        }
    }
}

/* The bound holds over all messages of a request. */
static void spans_of_all_parts_are_bounded(void **state)
{
    static char bytes[SKY_STITCH_MESSAGE_MAX_BYTES];
    struct sky_stitch_message message;
    struct taken taken;
    (void)state;
    size_t len = repeat(bytes, HEAD ",\"spans\":[", "{\"id\":7}", SKY_STITCH_MAX_SPANS - 1, "]}");
    take(&taken, bytes, len);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_copy(WHOLE, sizeof(WHOLE) - 1, &message), SKY_STITCH_MESSAGE_OK);
        sky_stitch_message_take(&message, &taken.pool, &taken.part, &taken.how);
        sky_stitch_message_fini(&message);
        assert_int_equal(taken.how.limited, i > 0);
    }
    assert_int_equal(taken.part.span_count, SKY_STITCH_MAX_SPANS);
    h2o_mem_clear_pool(&taken.pool);
}

static void deep_nesting_is_refused(void **state)
{
    static char bytes[SKY_STITCH_MESSAGE_MAX_BYTES];
    struct sky_stitch_message message;
    (void)state;
    memset(bytes, '[', sizeof(bytes));
    memcpy(bytes, "{\"a\":", 5);
    assert_int_equal(read_copy(bytes, sizeof(bytes), &message), SKY_STITCH_MESSAGE_BAD);
}

static size_t allocations_left;

static void *failing_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void no_memory_is_a_bad_message(void **state)
{
    struct sky_stitch_message message;
    size_t failures = 0;
    (void)state;
    json_set_alloc_funcs(failing_malloc, free);
    for (;; failures++) {
        allocations_left = failures;
        if (read_copy(WHOLE, sizeof(WHOLE) - 1, &message) == SKY_STITCH_MESSAGE_OK)
            break;
    }
    json_set_alloc_funcs(malloc, free);
    assert_true(failures > 10);
    sky_stitch_message_fini(&message);
}

static void the_corpus_runs(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("stitch_message") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_envelope_is_read),           cmocka_unit_test(the_content_is_taken),
        cmocka_unit_test(a_cut_message_is_refused),       cmocka_unit_test(lists_are_bounded),
        cmocka_unit_test(spans_of_all_parts_are_bounded), cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(no_memory_is_a_bad_message),     cmocka_unit_test(the_corpus_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a word that a process says. */
#include "proxy/process/process_word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/fuzz/corpus.h"

static void test_a_log_record_is_read(void **state)
{
    struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS];
    struct sky_process_word word;
    struct sky_log_record record;
    json_t *root =
        json_loads("{\"process\":\"a\",\"logs\":[{\"at\":1700000000123456,\"text\":\"x\","
                   "\"trace\":\"t\",\"segment\":\"s\",\"span\":2,\"operation\":\"GET:/x\","
                   "\"tags\":[[\"level\",\"ERROR\"],7,[\"thread\",\"Main\"]]}]}",
                   0, NULL);

    (void)state;
    assert_true(sky_process_word_read(root, &word));
    assert_true(sky_process_log(&word, 0, tags, &record));
    assert_int_equal(record.at_ms, 1700000000123);
    assert_true(sky_text_equal(record.text, SKY_TEXT("x")));
    assert_true(sky_text_equal(record.trace_id, SKY_TEXT("t")));
    assert_true(sky_text_equal(record.segment_id, SKY_TEXT("s")));
    assert_int_equal(record.span_id, 2);
    assert_true(sky_text_equal(record.endpoint, SKY_TEXT("GET:/x")));
    assert_int_equal(record.tag_count, 2);
    assert_true(sky_text_equal(tags[1].key, SKY_TEXT("thread")));
    assert_false(sky_process_log(&word, 1, tags, &record));
    json_decref(root);
}

/* What an object wants beside what was read. */

static void expect_text(const json_t *object, const char *key, struct sky_text text)
{
    const char *want = json_string_value(json_object_get(object, key));

    assert_non_null(want);
    assert_true(sky_text_equal(text, sky_text_of(want)));
}

static void expect_log(const json_t *want, const struct sky_log_record *record)
{
    assert_int_equal(record->at_ms, json_integer_value(json_object_get(want, "at_ms")));
    expect_text(want, "text", record->text);
    expect_text(want, "trace", record->trace_id);
    expect_text(want, "segment", record->segment_id);
    expect_text(want, "operation", record->endpoint);
    assert_int_equal(record->span_id, json_integer_value(json_object_get(want, "span")));
    assert_int_equal(record->tag_count, json_integer_value(json_object_get(want, "tags")));
}

static void expect_logs(const json_t *want, const struct sky_process_word *word)
{
    struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS];
    struct sky_log_record record;

    assert_int_equal(sky_process_log_count(word), json_array_size(want));
    for (size_t i = 0; i < json_array_size(want); i++) {
        assert_true(sky_process_log(word, i, tags, &record));
        expect_log(json_array_get(want, i), &record);
    }
}

static void expect_meters(const json_t *want, const struct sky_process_word *word)
{
    const struct sky_process_meters *m = &word->meters;
    const int64_t read[] = {m->cpu_us,          m->rss_bytes,       m->threads, m->gc_collected[0],
                            m->gc_collected[1], m->gc_collected[2], m->gc_us};

    assert_int_equal(word->has_meters, want != NULL);
    for (size_t i = 0; i < json_array_size(want); i++)
        assert_int_equal(read[i], json_integer_value(json_array_get(want, i)));
}

static void expect_properties(const json_t *want, const struct sky_process_word *word)
{
    struct sky_tag property;

    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *pair = json_array_get(want, i);
        assert_true(sky_process_property(word, i, &property));
        assert_true(
            sky_text_equal(property.key, sky_text_of(json_string_value(json_array_get(pair, 0)))));
        assert_true(sky_text_equal(property.value,
                                   sky_text_of(json_string_value(json_array_get(pair, 1)))));
    }
    assert_false(sky_process_property(word, json_array_size(want), &property));
}

static void test_vectors(void **state)
{
    json_t *vectors = json_load_file(SKY_TESTS_DIR "/vectors/stitch.json", JSON_ALLOW_NUL, NULL),
           *vector;
    size_t i;

    (void)state;
    assert_true(json_array_size(json_object_get(vectors, "words")) > 3);
    json_array_foreach(json_object_get(vectors, "words"), i, vector)
    {
        const json_t *want = json_object_get(vector, "expect");
        struct sky_process_word word;
        assert_true(sky_process_word_read(json_object_get(vector, "message"), &word));
        expect_text(vector, "process", word.process);
        if (word.request.len != 0)
            expect_text(want, "request", word.request);
        expect_meters(json_object_get(want, "meters"), &word);
        expect_logs(json_object_get(want, "logs"), &word);
        expect_properties(json_object_get(want, "properties"), &word);
        assert_int_equal(word.lost_logs, json_integer_value(json_object_get(want, "lost_logs")));
    }
    json_decref(vectors);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("process_word") > 5);
}

/* Texts that protobuf's readers could not hold, and that would be news each time they are said. */
static void test_properties_with_a_nul_are_left_out(void **state)
{
    json_t *root = json_loads("{\"process\":\"a\",\"properties\":[[\"k\\u0000ey\",\"value\"],"
                              "[\"key\",\"\\u0000\"],[\"key\",\"value\"]]}",
                              JSON_ALLOW_NUL, NULL);
    struct sky_process_word word;
    struct sky_tag property;

    (void)state;
    assert_true(sky_process_word_read(root, &word));
    assert_false(sky_process_property(&word, 0, &property));
    assert_false(sky_process_property(&word, 1, &property));
    assert_true(sky_process_property(&word, 2, &property));
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_record_is_read),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_properties_with_a_nul_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "proxy/stitch/stitch_own.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"
#include "tests/unit/stitch_fixture.h"

#define SEGMENT "5e9c0000000000000000000000007a11"
#define AT "1700000000123456"
#define SW8 "1-dA==-cw==-3-c2hvcA==-c2hvcC0x-R0VUOi94-cTo1Njcy"
#define HEAD "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"t-1\",\"at\":" AT
#define ROOT                                                                         \
    "{\"id\":1,\"parent\":0,\"type\":\"entry\",\"layer\":\"mq\",\"component\":7011," \
    "\"operation\":\"celery/add\",\"begin\":0,\"duration\":5000,\"error\":true}"
#define CHILD                                                                                \
    "{\"id\":2,\"parent\":1,\"type\":\"exit\",\"operation\":\"Redis/GET\",\"peer\":\"r:1\"," \
    "\"begin\":1000,\"duration\":2000}"
#define WHOLE \
    HEAD ",\"refs\":[\"" SW8 "\",\"nonsense\"],\"service\":\"jobs\",\"spans\":[" ROOT "," CHILD "]}"

struct read {
    struct sky_stitch_message message;
    h2o_mem_pool_t pool;
    struct sky_stitch_own own;
    bool ok;
};

static void read_own(struct read *read, const char *text)
{
    struct sky_text copy = exact_copy(text, strlen(text));
    assert_int_equal(sky_stitch_message_read(copy, &read->message), SKY_STITCH_MESSAGE_OWN);
    exact_free(copy);
    h2o_mem_init_pool(&read->pool);
    read->ok = sky_stitch_own_read(&read->message, &read->pool, &read->own);
}

static void forget(struct read *read)
{
    h2o_mem_clear_pool(&read->pool);
    sky_stitch_message_fini(&read->message);
}

static void a_whole_segment_is_read(void **state)
{
    struct read read;
    (void)state;
    read_own(&read, WHOLE);
    assert_true(read.ok);
    const struct sky_stitch_own *own = &read.own;
    assert_true(sky_text_equal(own->trace_id, SKY_TEXT("t-1")));
    assert_true(sky_text_equal(own->service, SKY_TEXT("jobs")));
    assert_int_equal(own->instance.len, 0);
    assert_int_equal(own->ref_count, 1);
    assert_int_equal(own->refs[0].span_id, 3);
    assert_true(sky_text_equal(own->refs[0].address, SKY_TEXT("q:5672")));
    assert_int_equal(own->duration_us, 5000);
    assert_false(own->size_limited);
    assert_int_equal(own->span_count, 2);
    const struct sky_span *root = &own->spans[0], *child = &own->spans[1];
    assert_int_equal(root->id, 0);
    assert_int_equal(root->parent, -1);
    assert_int_equal(root->type, SKY_SPAN_ENTRY);
    assert_true(root->error);
    assert_int_equal(root->start_ms, 1700000000123);
    assert_int_equal(root->end_ms, 1700000000128);
    assert_int_equal(child->id, 1);
    assert_int_equal(child->parent, 0);
    assert_int_equal(child->type, SKY_SPAN_EXIT);
    forget(&read);
}

/* Whatever its spans say, a segment has one root, and it is the only one that may be an entry. */
static void there_is_one_root(void **state)
{
    struct read read;
    (void)state;
    read_own(&read, HEAD ",\"spans\":[{\"id\":3,\"parent\":0,\"type\":\"entry\"},"
                         "{\"id\":1,\"parent\":9,\"begin\":7000,\"duration\":2000},{\"id\":4,"
                         "\"parent\":7},{\"id\":4}]}");
    assert_true(read.ok);
    assert_int_equal(read.own.span_count, 3);
    assert_true(read.own.size_limited);
    for (size_t i = 0; i < read.own.span_count; i++) {
        assert_int_equal(read.own.spans[i].parent, i == 0 ? -1 : 0);
        assert_int_equal(read.own.spans[i].type, SKY_SPAN_LOCAL);
        assert_int_equal(read.own.spans[i].start_ms, 1700000000123);
    }
    forget(&read);
}

static void what_lacks_something_is_refused(void **state)
{
    static const char *const texts[] = {
        HEAD "}",
        HEAD ",\"spans\":[]}",
        HEAD ",\"spans\":[" CHILD "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"\",\"at\":" AT ",\"spans\":[" ROOT "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":5,\"at\":" AT ",\"spans\":[" ROOT "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"a\\u0000b\",\"at\":" AT
        ",\"spans\":[" ROOT "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"t\",\"spans\":[" ROOT "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"t\",\"at\":-1,\"spans\":[" ROOT "]}",
        "{\"v\":1,\"segment\":\"" SEGMENT "\",\"trace\":\"t\",\"at\":9000000000000000000,"
        "\"spans\":[" ROOT "]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct read read;
        read_own(&read, texts[i]);
        if (read.ok)
            fail_msg("taken: %s", texts[i]);
        forget(&read);
    }
}

static void refs_are_bounded(void **state)
{
    char text[16384];
    struct read read;
    (void)state;
    size_t len = (size_t)snprintf(text, sizeof(text), HEAD ",\"spans\":[" ROOT "],\"refs\":[");
    for (size_t i = 0; i < SKY_STITCH_MAX_REFS + 10; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\"" SW8 "\"", i ? "," : "");
    snprintf(text + len, sizeof(text) - len, "]}");
    read_own(&read, text);
    assert_true(read.ok);
    assert_int_equal(read.own.ref_count, SKY_STITCH_MAX_REFS);
    forget(&read);
}

static struct sky_text string(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return sky_text(json_string_value(value), json_string_length(value));
}

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void check_span(const struct sky_span *span, const json_t *wanted)
{
    static const char *const types[] = {"entry", "exit", "local"};
    assert_int_equal(span->id, integer(wanted, "id"));
    assert_int_equal(span->parent, integer(wanted, "parent"));
    assert_int_equal(span->start_ms, integer(wanted, "start_ms"));
    assert_int_equal(span->end_ms, integer(wanted, "end_ms"));
    assert_true(sky_text_equal(sky_text_of(types[span->type]), string(wanted, "type")));
    assert_true(sky_text_equal(span->operation, string(wanted, "operation")));
}

static void check_vector(const json_t *vector)
{
    struct read read;
    const json_t *wanted = json_object_get(vector, "expect");
    char *text = json_dumps(json_object_get(vector, "message"), JSON_COMPACT);
    read_own(&read, text);
    free(text);
    if (read.ok == json_is_null(wanted))
        fail_msg("%s: taken %d", json_string_value(json_object_get(vector, "name")), read.ok);
    if (read.ok) {
        const json_t *spans = json_object_get(wanted, "spans");
        assert_true(sky_text_equal(read.own.trace_id, string(wanted, "trace")));
        assert_true(sky_text_equal(read.own.service, string(wanted, "service")));
        assert_true(sky_text_equal(read.own.instance, string(wanted, "instance")));
        assert_int_equal(read.own.ref_count, integer(wanted, "refs"));
        assert_int_equal(read.own.size_limited,
                         json_is_true(json_object_get(wanted, "size_limited")));
        assert_int_equal(read.own.span_count, json_array_size(spans));
        for (size_t i = 0; i < read.own.span_count; i++)
            check_span(&read.own.spans[i], json_array_get(spans, i));
    }
    forget(&read);
}

static void the_vectors_hold(void **state)
{
    size_t index;
    json_t *vector,
        *file = json_load_file(SKY_TESTS_DIR "/vectors/stitch.json", JSON_ALLOW_NUL, NULL);
    (void)state;
    const json_t *vectors = json_object_get(file, "own");
    assert_true(json_array_size(vectors) > 0);
    json_array_foreach(vectors, index, vector) check_vector(vector);
    json_decref(file);
}

struct owned {
    unsigned count;
    size_t spans;
};

static void on_own(void *data, const struct sky_stitch_own *own)
{
    struct owned *owned = data;
    owned->count++;
    owned->spans += own->span_count;
}

/* Over a real channel; and nothing of it reaches the segment of a request, whatever its id. */
static void the_channel_takes_them(void **state)
{
    char channel[] = "auto";
    struct fixture fixture;
    struct owned owned = {0};
    (void)state;
    fixture_init(&fixture, channel, NULL, 100, 65536);
    int fd = fixture_connect(&fixture);
    fixture_send(fd, WHOLE, strlen(WHOLE));
    fixture_turn(&fixture);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_own_refused), 1);
    sky_stitch_on_own(fixture.stitch, on_own, &owned);
    fixture_send(fd, WHOLE, strlen(WHOLE));
    fixture_send(fd, HEAD "}", strlen(HEAD "}"));
    fixture_turn(&fixture);
    assert_int_equal(owned.count, 1);
    assert_int_equal(owned.spans, 2);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_own), 1);
    assert_int_equal(fixture_count(&fixture, SKY_COUNT_stitch_message_bad), 1);
    close(fd);
    fixture_fini(&fixture);
}

static void the_corpus_runs(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("stitch_own") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_segment_is_read),
        cmocka_unit_test(there_is_one_root),
        cmocka_unit_test(what_lacks_something_is_refused),
        cmocka_unit_test(refs_are_bounded),
        cmocka_unit_test(the_vectors_hold),
        cmocka_unit_test(the_channel_takes_them),
        cmocka_unit_test(the_corpus_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

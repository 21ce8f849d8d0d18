/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "propagation/base64.h"
#include "propagation/sw8.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

/* The example of SkyWalking's description of sw8. */
#define HEAD "1-dHJhY2UtMQ==-c2VnLTE=-"
#define TAIL "-c3Zj-aW5zdEBo-L2FwaQ==-MTAuMC4wLjI6ODA4MA=="
#define EXAMPLE HEAD "3" TAIL

static const struct sky_sw8 example = {
    .sampled = true,
    .trace_id = SKY_TEXT_INIT("trace-1"),
    .segment_id = SKY_TEXT_INIT("seg-1"),
    .span_id = 3,
    .service = SKY_TEXT_INIT("svc"),
    .instance = SKY_TEXT_INIT("inst@h"),
    .endpoint = SKY_TEXT_INIT("/api"),
    .address = SKY_TEXT_INIT("10.0.0.2:8080"),
};

static bool parse(const char *value, size_t len, char *storage, struct sky_sw8 *sw8)
{
    struct sky_text copy = exact_copy(value, len);
    bool accepted = sky_sw8_parse(copy, storage, sw8);

    exact_free(copy);
    return accepted;
}

static void assert_text(struct sky_text actual, struct sky_text expected)
{
    if (!sky_text_equal(actual, expected))
        fail_msg("%.*s instead of %.*s", (int)actual.len, actual.base, (int)expected.len,
                 expected.base);
}

static void assert_same(const struct sky_sw8 *actual, const struct sky_sw8 *expected)
{
    assert_int_equal(actual->sampled, expected->sampled);
    assert_int_equal(actual->span_id, expected->span_id);
    assert_text(actual->trace_id, expected->trace_id);
    assert_text(actual->segment_id, expected->segment_id);
    assert_text(actual->service, expected->service);
    assert_text(actual->instance, expected->instance);
    assert_text(actual->endpoint, expected->endpoint);
    assert_text(actual->address, expected->address);
}

static void the_documents_example_is_read_and_written(void **state)
{
    char storage[SKY_SW8_MAX_BYTES], built[SKY_SW8_MAX_BYTES];
    struct sky_sw8 sw8;
    (void)state;

    assert_true(parse(EXAMPLE, strlen(EXAMPLE), storage, &sw8));
    assert_same(&sw8, &example);
    assert_int_equal(sky_sw8_build(&example, built, sizeof(built)), strlen(EXAMPLE));
    assert_memory_equal(built, EXAMPLE, strlen(EXAMPLE));
}

/* Receivers differ in what they make of these cases; ours takes only what all of them read the same
 * way. */
static void the_receivers_table(void **state)
{
    static const struct {
        const char *what, *value;
        bool accepted;
        int32_t span_id;
    } cases[] = {
        {"sampled", EXAMPLE, true, 3},
        {"not sampled", "0-dHJhY2UtMQ==-c2VnLTE=-3" TAIL, true, 3},
        {"blanks around", " \t" EXAMPLE "\t  ", true, 3},
        {"span 0", HEAD "0" TAIL, true, 0},
        {"leading zeros", HEAD "00000000000000000000000000000042" TAIL, true, 42},
        {"greatest span", HEAD "2147483647" TAIL, true, INT32_MAX},
        {"not ASCII", "1-dA==-cw==-1-c2VydmljZQ==-aQ==-L2jDqWxsby/kuJbnlYw=-YQ==", true, 1},
        {"absent", "", false, 0},
        {"blanks alone", "  \t ", false, 0},
        {"Python, not sampled", "1-------", false, 0},
        {"seven fields", "1-dHJhY2UtMQ==-c2VnLTE=-3-c3Zj-aW5zdEBo-L2FwaQ==", false, 0},
        {"nine fields", EXAMPLE "-QQ==", false, 0},
        {"nine fields, last empty", EXAMPLE "-", false, 0},
        {"no dash", "1", false, 0},
        {"sample 2", "2-dHJhY2UtMQ==-c2VnLTE=-3" TAIL, false, 0},
        {"sample 01", "01-dHJhY2UtMQ==-c2VnLTE=-3" TAIL, false, 0},
        {"sample a letter", "t-dHJhY2UtMQ==-c2VnLTE=-3" TAIL, false, 0},
        {"sample empty", "-dHJhY2UtMQ==-c2VnLTE=-3" TAIL, false, 0},
        {"trace id empty", "1--c2VnLTE=-3" TAIL, false, 0},
        {"segment id empty", "1-dHJhY2UtMQ==--3" TAIL, false, 0},
        {"span id empty", HEAD TAIL, false, 0},
        {"service empty", HEAD "3--aW5zdEBo-L2FwaQ==-MTAuMC4wLjI6ODA4MA==", false, 0},
        {"instance empty", HEAD "3-c3Zj--L2FwaQ==-MTAuMC4wLjI6ODA4MA==", false, 0},
        {"endpoint empty", HEAD "3-c3Zj-aW5zdEBo--MTAuMC4wLjI6ODA4MA==", false, 0},
        {"address empty", HEAD "3-c3Zj-aW5zdEBo-L2FwaQ==-", false, 0},
        {"span id negative", HEAD "-3" TAIL, false, 0},
        {"span id negative, eight fields", HEAD "-1-c3Zj-aW5zdEBo-L2FwaQ==", false, 0},
        {"span id with a plus", HEAD "+3" TAIL, false, 0},
        {"span id with a blank", HEAD " 3" TAIL, false, 0},
        {"span id a word", HEAD "three" TAIL, false, 0},
        {"span id hex", HEAD "0x3" TAIL, false, 0},
        {"span id 3.0", HEAD "3.0" TAIL, false, 0},
        {"span id 2^31", HEAD "2147483648" TAIL, false, 0},
        {"span id 2^32 + 3", HEAD "4294967299" TAIL, false, 0},
        {"span id 2^64 + 3", HEAD "18446744073709551619" TAIL, false, 0},
        {"unpadded", "1-dHJhY2UtMQ-c2VnLTE=-3" TAIL, false, 0},
        {"padded too much", "1-dHJhY2UtMQ===-c2VnLTE=-3" TAIL, false, 0},
        {"URL-safe", "1-dHJhY2Ut_Q==-c2VnLTE=-3" TAIL, false, 0},
        {"foreign character", "1-dHJhY2Ut*Q==-c2VnLTE=-3" TAIL, false, 0},
        {"line break", "1-dHJhY2UtMQ==\n-c2VnLTE=-3" TAIL, false, 0},
        {"Latin-1", HEAD "3-c3Zj-aW5zdEBo-L2NhZuk=-MTAuMC4wLjI6ODA4MA==", false, 0},
        {"NUL inside", HEAD "3-c3Zj-aW5zdEBo-L2EAYg==-MTAuMC4wLjI6ODA4MA==", false, 0},
        {"two values joined", EXAMPLE ", " EXAMPLE, false, 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        char storage[SKY_SW8_MAX_BYTES];
        struct sky_sw8 sw8;
        bool accepted = parse(cases[i].value, strlen(cases[i].value), storage, &sw8);
        if (accepted != cases[i].accepted)
            fail_msg("%s: %s", cases[i].what, accepted ? "accepted" : "refused");
        if (accepted)
            assert_int_equal(sw8.span_id, cases[i].span_id);
    }
}

static void a_nul_byte_in_the_value_is_refused(void **state)
{
    char value[] = EXAMPLE, storage[SKY_SW8_MAX_BYTES];
    struct sky_sw8 sw8;
    (void)state;

    for (size_t place = 0; place < sizeof(value) - 1; ++place) {
        memcpy(value, EXAMPLE, sizeof(value));
        value[place] = '\0';
        assert_false(parse(value, sizeof(value) - 1, storage, &sw8));
    }
}

static void the_java_form_is_read(void **state)
{
    static const char value[] =
        "1-YTEyZjliY2IwZTJjNGYwYzhiM2Y4ZDZhNmUwYzVmMTEuNTcuMTY2MTQxNDQwMDAwMTAwMDE="
        "-YTEyZjliY2IwZTJjNGYwYzhiM2Y4ZDZhNmUwYzVmMTEuNTcuMTY2MTQxNDQwMDAwMTAwMDA="
        "-1-c2hvcDo6Y2FydA==-OWQ0ZDdiNGJlN2M3NGEzYThjNWYyZThmZDBkNGYxYWJAMTAuMC4wLjc="
        "-R0VUOi91c2Vycy97aWR9-c2hvcDo4MDgw";
    const struct sky_sw8 expected = {
        .sampled = true,
        .trace_id = SKY_TEXT("a12f9bcb0e2c4f0c8b3f8d6a6e0c5f11.57.16614144000010001"),
        .segment_id = SKY_TEXT("a12f9bcb0e2c4f0c8b3f8d6a6e0c5f11.57.16614144000010000"),
        .span_id = 1,
        .service = SKY_TEXT("shop::cart"),
        .instance = SKY_TEXT("9d4d7b4be7c74a3a8c5f2e8fd0d4f1ab@10.0.0.7"),
        .endpoint = SKY_TEXT("GET:/users/{id}"),
        .address = SKY_TEXT("shop:8080"),
    };
    char storage[SKY_SW8_MAX_BYTES];
    struct sky_sw8 sw8;
    (void)state;

    assert_true(parse(value, sizeof(value) - 1, storage, &sw8));
    assert_same(&sw8, &expected);
}

/* A cut inside the last field can leave a shorter field that is whole; every other cut is a defect.
 */
static void every_cut_is_refused_or_shortens_the_address(void **state)
{
    (void)state;

    for (size_t len = 0; len < strlen(EXAMPLE); ++len) {
        char storage[SKY_SW8_MAX_BYTES];
        struct sky_sw8 sw8, expected = example;
        size_t address = len >= strlen(HEAD "3-c3Zj-aW5zdEBo-L2FwaQ==-")
                             ? len - strlen(HEAD "3-c3Zj-aW5zdEBo-L2FwaQ==-")
                             : 0;
        bool accepted = parse(EXAMPLE, len, storage, &sw8);
        assert_int_equal(accepted, address != 0 && address % 4 == 0);
        if (!accepted)
            continue;
        expected.address.len = address / 4 * 3;
        assert_same(&sw8, &expected);
    }
}

/* As many x as a test may want. */
static struct sky_text xs(size_t len)
{
    static char text[2 * SKY_SW8_MAX_BYTES];

    memset(text, 'x', sizeof(text));
    return sky_text(text, len);
}

static void ids_fit_the_columns_of_the_collector(void **state)
{
    char encoded[SKY_BASE64_LEN(SKY_SW8_MAX_ID_BYTES + 1)], value[512], storage[SKY_SW8_MAX_BYTES];
    (void)state;

    for (size_t len = SKY_SW8_MAX_ID_BYTES; len <= SKY_SW8_MAX_ID_BYTES + 1; ++len) {
        bool fits = len == SKY_SW8_MAX_ID_BYTES;
        int encoded_len = (int)sky_base64_encode(encoded, xs(len));
        struct sky_sw8 sw8, long_trace_id = example, long_segment_id = example;
        int n = snprintf(value, sizeof(value), "1-%.*s-cw==-3" TAIL, encoded_len, encoded);
        assert_int_equal(parse(value, (size_t)n, storage, &sw8), fits);
        n = snprintf(value, sizeof(value), "1-cw==-%.*s-3" TAIL, encoded_len, encoded);
        assert_int_equal(parse(value, (size_t)n, storage, &sw8), fits);
        long_trace_id.trace_id = long_segment_id.segment_id = xs(len);
        assert_int_equal(sky_sw8_build(&long_trace_id, value, sizeof(value)) != 0, fits);
        assert_int_equal(sky_sw8_build(&long_segment_id, value, sizeof(value)) != 0, fits);
    }
}

static void a_value_above_the_limit_is_neither_written_nor_read(void **state)
{
    /* With the endpoint's 4 characters replaced by 1984, and 3 digits more in the span id. */
    enum { ENDPOINT_BYTES = 1984 / 4 * 3 };
    char built[2 * SKY_SW8_MAX_BYTES], longer[SKY_SW8_MAX_BYTES + 2], storage[SKY_SW8_MAX_BYTES];
    struct sky_sw8 sw8 = example, back;
    (void)state;

    sw8.endpoint = xs(ENDPOINT_BYTES);
    sw8.span_id = 1000;
    assert_int_equal(sky_sw8_build(&sw8, built, sizeof(built)), SKY_SW8_MAX_BYTES);
    assert_true(parse(built, SKY_SW8_MAX_BYTES, storage, &back));
    assert_same(&back, &sw8);
    sw8.span_id = 10000;
    assert_int_equal(sky_sw8_build(&sw8, longer, sizeof(longer)), 0);
    snprintf(longer, sizeof(longer), HEAD "1%.*s", (int)(SKY_SW8_MAX_BYTES - strlen(HEAD)),
             built + strlen(HEAD));
    assert_int_equal(strlen(longer), SKY_SW8_MAX_BYTES + 1);
    assert_false(parse(longer, strlen(longer), storage, &back));
}

static void a_field_that_would_overflow_the_sum_is_refused(void **state)
{
    char built[16];
    struct sky_sw8 sw8 = example;
    (void)state;

    /* The length is a lie, the bytes behind it must not be read. */
    sw8.endpoint.len = SIZE_MAX / 4;
    assert_int_equal(sky_sw8_build(&sw8, built, sizeof(built)), 0);
}

static void build_refuses_what_no_receiver_should_see(void **state)
{
    struct sky_sw8 broken[] = {example, example, example, example, example,
                               example, example, example, example};
    char built[SKY_SW8_MAX_BYTES];
    (void)state;

    broken[0].trace_id = sky_text(NULL, 0);
    broken[1].segment_id.len = 0;
    broken[2].service.len = 0;
    broken[3].instance.len = 0;
    broken[4].endpoint.len = 0;
    broken[5].address.len = 0;
    broken[6].span_id = -1;
    broken[7].endpoint = SKY_TEXT("/caf\xe9");
    broken[8].service = SKY_TEXT("a\0b");
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); ++i)
        assert_int_equal(sky_sw8_build(&broken[i], built, sizeof(built)), 0);
}

static void build_writes_whole_or_nothing(void **state)
{
    (void)state;

    for (size_t size = 0; size <= strlen(EXAMPLE); ++size) {
        char *dst = malloc(size);
        size_t expected = size == strlen(EXAMPLE) ? size : 0;
        assert_int_equal(sky_sw8_build(&example, dst, size), expected);
        free(dst);
    }
}

static void span_ids_come_back(void **state)
{
    static const int32_t span_ids[] = {0, 9, 10, 99, 100, 12345678, 999999999, INT32_MAX};
    char built[SKY_SW8_MAX_BYTES], storage[SKY_SW8_MAX_BYTES];
    struct sky_sw8 sw8 = example, back;
    (void)state;

    for (size_t i = 0; i < sizeof(span_ids) / sizeof(span_ids[0]); ++i) {
        sw8.span_id = span_ids[i];
        sw8.sampled = i % 2 == 0;
        size_t len = sky_sw8_build(&sw8, built, sizeof(built));
        assert_true(parse(built, len, storage, &back));
        assert_same(&back, &sw8);
    }
}

static void sw8x_asks_to_skip_by_its_first_field_alone(void **state)
{
    static const char *const skips[] = {"1", "1-", "1- ", "1-1661414400001", " 1 ", "1-2-3"};
    static const char *const normal[] = {"", "0", "0-", "0- ", "-", " ", "2", "10", "11-", "x-1"};
    (void)state;

    for (size_t i = 0; i < sizeof(skips) / sizeof(skips[0]); ++i) {
        struct sky_text value = exact_copy(skips[i], strlen(skips[i]));
        assert_true(sky_sw8x_skips_analysis(value));
        exact_free(value);
    }
    for (size_t i = 0; i < sizeof(normal) / sizeof(normal[0]); ++i) {
        struct sky_text value = exact_copy(normal[i], strlen(normal[i]));
        assert_false(sky_sw8x_skips_analysis(value));
        exact_free(value);
    }
}

static void corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("sw8") >= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_documents_example_is_read_and_written),
        cmocka_unit_test(the_receivers_table),
        cmocka_unit_test(a_nul_byte_in_the_value_is_refused),
        cmocka_unit_test(the_java_form_is_read),
        cmocka_unit_test(every_cut_is_refused_or_shortens_the_address),
        cmocka_unit_test(ids_fit_the_columns_of_the_collector),
        cmocka_unit_test(a_value_above_the_limit_is_neither_written_nor_read),
        cmocka_unit_test(a_field_that_would_overflow_the_sum_is_refused),
        cmocka_unit_test(build_refuses_what_no_receiver_should_see),
        cmocka_unit_test(build_writes_whole_or_nothing),
        cmocka_unit_test(span_ids_come_back),
        cmocka_unit_test(sw8x_asks_to_skip_by_its_first_field_alone),
        cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

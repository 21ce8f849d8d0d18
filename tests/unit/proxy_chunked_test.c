/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk decoder: what it takes and refuses, in one piece, cut at every byte, byte by byte. */
#include "proxy/http/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

struct sample {
    const char *input;
    const char *body; /* NULL: refused */
    const char *rest; /* what follows the body; NULL: the body has not ended */
};

static const struct sample samples[] = {
    /* plain bodies */
    {"0\r\n\r\n", "", ""},
    {"3\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET /", "abcde", "GET /"},
    {"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
    {"A\r\n0123456789\r\n000\r\n\r\n", "0123456789", ""},
    {"0000000000000003\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3\r\n\r\n0\r\n0\r\n\r\n", "\r\n0", ""},
    {"0000000000000000\r\n\r\nx", "", "x"},
    /* not ended */
    {"", "", NULL},
    {"3", "", NULL},
    {"3\r", "", NULL},
    {"3\r\n", "", NULL},
    {"3\r\nab", "ab", NULL},
    {"3\r\nabc", "abc", NULL},
    {"3\r\nabc\r\n0\r\n", "abc", NULL},
    {"3\r\nabc\r\n0\r\n\r", "abc", NULL},
    {"ffffffffffffffff\r\nabc", "abc", NULL},
    {"8000000000000000\r\nabc", "abc", NULL},
    /* sizes */
    {"\r\n", NULL, NULL},
    {"g\r\n", NULL, NULL},
    {"-3\r\nabc", NULL, NULL},
    {"+3\r\nabc", NULL, NULL},
    {" 3\r\nabc", NULL, NULL},
    {"\t3\r\nabc", NULL, NULL},
    {"3 \r\nabc\r\n0\r\n\r\n", NULL, NULL},
    {"3\t\r\nabc\r\n0\r\n\r\n", NULL, NULL},
    {"3 xyz\r\nabc", NULL, NULL},
    {"3zz\r\nabc", NULL, NULL},
    {"0x3\r\nabc", NULL, NULL},
    {"0X3\r\nabc", NULL, NULL},
    {"5_0\r\nabc", NULL, NULL},
    {"5x\r\nabcde", NULL, NULL},
    {"3,3\r\nabc", NULL, NULL},
    {"00000000000000003\r\nabc", NULL, NULL},
    {"10000000000000000\r\nabc", NULL, NULL},
    {"00000000000000000\r\n\r\n", NULL, NULL},
    {"3\xb2\r\nabc", NULL, NULL},
    /* line ends */
    {"3\nabc\r\n0\r\n\r\n", NULL, NULL},
    {"3\r\rabc", NULL, NULL},
    {"3\rabc", NULL, NULL},
    {"3\n\rabc", NULL, NULL},
    {"3\r\nabc\n0\r\n\r\n", NULL, NULL},
    {"3\r\nabc\r0\r\n\r\n", NULL, NULL},
    {"3\r\nabc0\r\n\r\n", NULL, NULL},
    {"3\r\nabcd\r\n0\r\n\r\n", NULL, NULL},
    {"3\r\nabc\r\r\r\r\n0\r\n\r\n", NULL, NULL},
    {"0\r\n\n", NULL, NULL},
    {"0\n\r\n", NULL, NULL},
    {"0\r\n\rx", NULL, NULL},
    /* extensions */
    {"3;a\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a=b\r\nabc\r\n0;last\r\n\r\n", "abc", ""},
    {"3 ; a = b \t; c=\"d\"\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3\t;\ta\t=\tb\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a=\"q;\\\"\\\\ \t\xe4\"\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a=\"\"\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a \t =\t b\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a;b;c=1;d\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a ;b\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;a=1 ;b\r\nabc\r\n0\r\n\r\n", "abc", ""},
    {"3;\r\nabc", NULL, NULL},
    {"3; \r\nabc", NULL, NULL},
    {"3;;\r\nabc", NULL, NULL},
    {"3;a;\r\nabc", NULL, NULL},
    {"3;=b\r\nabc", NULL, NULL},
    {"3;a=\r\nabc", NULL, NULL},
    {"3;a= \r\nabc", NULL, NULL},
    {"3;a=b \r\nabc", NULL, NULL},
    {"3;a \r\nabc", NULL, NULL},
    {"3;a b\r\nabc", NULL, NULL},
    {"3;a=b c\r\nabc", NULL, NULL},
    {"3;a=b=c\r\nabc", NULL, NULL},
    {"3;a=\"b\"c\r\nabc", NULL, NULL},
    {"3;a=\"b\r\nabc", NULL, NULL},
    {"3;a=\"b\\\r\nabc", NULL, NULL},
    {"3;a=b\nabc", NULL, NULL},
    {"3;a\nabc", NULL, NULL},
    {"3;a=\"b\n\"\r\nabc", NULL, NULL},
    {"3;a=b\rabc", NULL, NULL},
    {"3;a:b\r\nabc", NULL, NULL},
    {"3;\x01\r\nabc", NULL, NULL},
    {"3;\xe4\r\nabc", NULL, NULL},
    /* trailers */
    {"0\r\nA: b\r\n\r\n", "", ""},
    {"0\r\nA:\r\n\r\n", "", ""},
    {"0\r\nA: b\r\nContent-Length: 7\r\nHost: x\r\n\r\nrest", "", "rest"},
    {"0\r\nA: \xc3\xa4\tb\r\n\r\n", "", ""},
    {"0\r\nA\r\n\r\n", NULL, NULL},
    {"0\r\nA : b\r\n\r\n", NULL, NULL},
    {"0\r\n: b\r\n\r\n", NULL, NULL},
    {"0\r\n A: b\r\n\r\n", NULL, NULL},
    {"0\r\nA: b\r\n c\r\n\r\n", NULL, NULL},
    {"0\r\nA: b\n\r\n", NULL, NULL},
    {"0\r\nA: b\rC: d\r\n\r\n", NULL, NULL},
    {"0\r\nA: b\r\n\n", NULL, NULL},
    {"0\r\nA: \x01\r\n\r\n", NULL, NULL},
    {"0\r\nA: \x7f\r\n\r\n", NULL, NULL},
};

struct decoded {
    char body[65536];
    size_t body_len;
    enum sky_chunked_result result;
    struct sky_text rest;
};

static void feed(struct sky_chunked *chunked, struct decoded *decoded, struct sky_text input)
{
    struct sky_text data = {NULL, 0};

    while ((decoded->result = sky_chunked_next(chunked, &input, &data)) == SKY_CHUNKED_DATA) {
        assert_int_not_equal(data.len, 0);
        assert_true(decoded->body_len + data.len <= sizeof decoded->body);
        memcpy(decoded->body + decoded->body_len, data.base, data.len);
        decoded->body_len += data.len;
    }
    if (decoded->result == SKY_CHUNKED_MORE)
        assert_int_equal(input.len, 0);
    decoded->rest = input;
}

static void check(const struct sample *sample, const struct decoded *decoded, const char *how)
{
    enum sky_chunked_result expected = sample->body == NULL   ? SKY_CHUNKED_ERROR
                                       : sample->rest == NULL ? SKY_CHUNKED_MORE
                                                              : SKY_CHUNKED_DONE;
    if (decoded->result != expected)
        fail_msg("%s (%s): result %d, not %d", sample->input, how, (int)decoded->result,
                 (int)expected);
    if (expected == SKY_CHUNKED_ERROR)
        return;
    assert_int_equal(decoded->body_len, strlen(sample->body));
    assert_memory_equal(decoded->body, sample->body, decoded->body_len);
}

static void check_rest(const struct sample *sample, const struct decoded *decoded)
{
    if (decoded->result != SKY_CHUNKED_DONE)
        return;
    assert_int_equal(decoded->rest.len, strlen(sample->rest));
    assert_memory_equal(decoded->rest.base, sample->rest, decoded->rest.len);
}

static void test_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct sky_chunked chunked = {0};
        struct decoded decoded = {.body_len = 0};
        feed(&chunked, &decoded, sky_text_of(samples[i].input));
        check(&samples[i], &decoded, "whole");
        check_rest(&samples[i], &decoded);
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct sky_text input = sky_text_of(samples[i].input);
        for (size_t cut = 0; cut <= input.len; cut++) {
            struct sky_chunked chunked = {0};
            struct decoded decoded = {.body_len = 0};
            feed(&chunked, &decoded, sky_text(input.base, cut));
            if (decoded.result != SKY_CHUNKED_DONE)
                feed(&chunked, &decoded, sky_text(input.base + cut, input.len - cut));
            check(&samples[i], &decoded, "cut");
        }
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct sky_text input = sky_text_of(samples[i].input);
        struct sky_chunked chunked = {0};
        struct decoded decoded = {.result = SKY_CHUNKED_MORE};
        size_t eaten = 0;
        while (eaten < input.len && decoded.result == SKY_CHUNKED_MORE)
            feed(&chunked, &decoded, sky_text(input.base + eaten++, 1));
        check(&samples[i], &decoded, "bytes");
        if (decoded.result == SKY_CHUNKED_DONE)
            assert_int_equal(input.len - eaten, strlen(samples[i].rest));
    }
}

/* Ended or broken, a decoder stays so and eats no more. */
static void test_result_is_final(void **state)
{
    (void)state;
    struct decoded decoded = {.body_len = 0};
    struct sky_chunked done = {0}, broken = {0};

    feed(&done, &decoded, SKY_TEXT("0\r\n\r\n"));
    feed(&done, &decoded, SKY_TEXT("3\r\nabc\r\n"));
    assert_int_equal(decoded.result, SKY_CHUNKED_DONE);
    assert_int_equal(decoded.rest.len, 8);
    feed(&broken, &decoded, SKY_TEXT("x"));
    feed(&broken, &decoded, SKY_TEXT("0\r\n\r\n"));
    assert_int_equal(decoded.result, SKY_CHUNKED_ERROR);
}

static enum sky_chunked_result with_extension(size_t extension_bytes)
{
    char text[1024];
    struct sky_chunked chunked = {0};
    struct decoded decoded = {.body_len = 0};
    int len = snprintf(text, sizeof text, "1;%0*d\r\na\r\n0\r\n\r\n", (int)extension_bytes - 1, 7);

    feed(&chunked, &decoded, sky_text(text, (size_t)len));
    return decoded.result;
}

static void test_extension_limit(void **state)
{
    (void)state;
    assert_int_equal(with_extension(SKY_CHUNKED_EXTENSION_MAX), SKY_CHUNKED_DONE);
    assert_int_equal(with_extension(SKY_CHUNKED_EXTENSION_MAX + 1), SKY_CHUNKED_ERROR);
}

static enum sky_chunked_result many_chunks(const char *chunk, size_t count)
{
    struct sky_chunked chunked = {0};
    struct decoded decoded = {.result = SKY_CHUNKED_MORE};

    for (size_t i = 0; i < count && decoded.result == SKY_CHUNKED_MORE; i++) {
        decoded.body_len = 0;
        feed(&chunked, &decoded, sky_text_of(chunk));
    }
    return decoded.result;
}

/* Extensions that outweigh the data are an attack on the reader; a signature on real chunks is not.
 */
static void test_extensions_without_data(void **state)
{
    (void)state;
    assert_int_equal(many_chunks("1;signature=0123456789abcdef\r\na\r\n", 5000), SKY_CHUNKED_ERROR);
    assert_int_equal(many_chunks("10;signature=0123456789abcdef\r\n0123456789abcdef\r\n", 5000),
                     SKY_CHUNKED_MORE);
    assert_int_equal(many_chunks("1\r\na\r\n", 50000), SKY_CHUNKED_MORE);
}

static enum sky_chunked_result with_trailer(size_t section_bytes)
{
    struct sky_chunked chunked = {0};
    struct decoded decoded = {.result = SKY_CHUNKED_MORE};
    size_t filler = section_bytes - strlen("T:\r\n") - strlen("\r\n");

    feed(&chunked, &decoded, SKY_TEXT("0\r\nT:"));
    for (size_t i = 0; i < filler && decoded.result == SKY_CHUNKED_MORE; i++)
        feed(&chunked, &decoded, SKY_TEXT("v"));
    if (decoded.result == SKY_CHUNKED_MORE)
        feed(&chunked, &decoded, SKY_TEXT("\r\n\r\n"));
    return decoded.result;
}

static void test_trailer_limit(void **state)
{
    (void)state;
    assert_int_equal(with_trailer(SKY_CHUNKED_TRAILER_MAX), SKY_CHUNKED_DONE);
    assert_int_equal(with_trailer(SKY_CHUNKED_TRAILER_MAX + 1), SKY_CHUNKED_ERROR);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("chunked") >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),           cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_byte_by_byte),    cmocka_unit_test(test_result_is_final),
        cmocka_unit_test(test_extension_limit), cmocka_unit_test(test_extensions_without_data),
        cmocka_unit_test(test_trailer_limit),   cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

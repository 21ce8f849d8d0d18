/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of answer heads: what it takes and refuses, whole, byte by byte, cut at every byte. */
#include "proxy/back/http1_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

/* What an answer amounts to: "status reason|framing|keep or close|Name=value;...", then "|stitch*n"
 * and "|data=stitch-data*n" when there were such fields. Framing: none, length, chunked or
 * until-close; "N:" in front of it is the Content-Length when there is one. */
struct sample {
    const char *input;
    const char *summary; /* NULL: refused */
    const char *defect;  /* of a refusal */
    bool head_request;
};

#define OK "HTTP/1.1 200 OK\r\n"
#define BAD(input, defect)         \
    {                              \
        input, NULL, defect, false \
    }
#define GOOD(input, summary)        \
    {                               \
        input, summary, NULL, false \
    }
#define HEAD(input, summary)       \
    {                              \
        input, summary, NULL, true \
    }

static const struct sample samples[] = {
    /* status lines */
    GOOD(OK "\r\n", "200 OK|until-close|close|"),
    GOOD("HTTP/1.1 200\r\n\r\n", "200 |until-close|close|"),
    GOOD("HTTP/1.1 200 \r\n\r\n", "200 |until-close|close|"),
    GOOD("HTTP/1.1 404 Not  Found \r\n\r\n", "404 Not  Found |until-close|close|"),
    GOOD("HTTP/1.1 200 \xc3\xa4\tb\r\n\r\n", "200 \xc3\xa4\tb|until-close|close|"),
    GOOD("HTTP/1.0 200 OK\r\n\r\n", "200 OK|until-close|close|"),
    GOOD("HTTP/1.2 200 OK\r\nContent-Length: 1\r\n\r\n", "200 OK|1:length|keep|"),
    GOOD("HTTP/1.1 999 x\r\n\r\n", "999 x|until-close|close|"),
    GOOD("HTTP/1.1 100 Continue\r\n\r\n", "100 Continue|none|keep|"),
    GOOD("HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", "101 x|none|keep|"),
    BAD("HTTP/1.1 099 x\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 000 x\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 20 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 2000 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 200OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 200\tOK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1  200 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 +20 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 2 0 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 200 a\rb\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1 200 a\001b\r\n\r\n", "bad status line"),
    BAD("HTTP/1.1\r\n\r\n", "bad status line"),
    BAD("HTTP/1. 200 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/1.x 200 OK\r\n\r\n", "bad status line"),
    BAD("HTTP/2 200 OK\r\n\r\n", "no status line"),
    BAD("HTTP/0.9 200 OK\r\n\r\n", "no status line"),
    BAD("http/1.1 200 OK\r\n\r\n", "no status line"),
    BAD(" HTTP/1.1 200 OK\r\n\r\n", "no status line"),
    BAD("\r\nHTTP/1.1 200 OK\r\n\r\n", "no status line"),
    BAD("<html>hello</html>", "no status line"),
    BAD("\x16\x03\x01\x02", "no status line"),
    BAD("Content-Length: 3\r\n\r\nabc", "no status line"),
    /* line ends */
    BAD("HTTP/1.1 200 OK\n\n", "line without CRLF"),
    BAD(OK "A: b\n\r\n", "line without CRLF"),
    BAD(OK "A: b\r\n\n", "line without CRLF"),
    BAD(OK "A: b\nC: d\r\n\r\n", "line without CRLF"),
    BAD(OK "A: b\rC: d\r\n\r\n", "bad field value"),
    BAD(OK "A: b\r\r\n\r\n", "bad field value"),
    /* fields */
    GOOD(OK "A: b\r\nc:d\r\nE:\t f \t\r\n\r\n", "200 OK|until-close|close|A=b;c=d;E=f;"),
    GOOD(OK "A:\r\nB: \r\n\r\n", "200 OK|until-close|close|A=;B=;"),
    GOOD(OK "Set-Cookie: a=1\r\nX: y\r\nSet-Cookie: b=2\r\n\r\n",
         "200 OK|until-close|close|Set-Cookie=a=1;X=y;Set-Cookie=b=2;"),
    GOOD(OK "A: b: c, \"d\"\r\n\r\n", "200 OK|until-close|close|A=b: c, \"d\";"),
    GOOD(OK "A: 12345678\t12345678\xff\r\n\r\n",
         "200 OK|until-close|close|A=12345678\t12345678\xff;"),
    GOOD(OK "A : b\r\n\r\n", "200 OK|until-close|close|A=b;"), /* RFC 9112, 5.1 */
    GOOD(OK "!#$%&'*+-.^_`|~09az: b\r\n\r\n", "200 OK|until-close|close|!#$%&'*+-.^_`|~09az=b;"),
    BAD(OK " A: b\r\n\r\n", "bad field name"),
    BAD(OK "A: b\r\n c\r\n\r\n", "bad field name"), /* obs-fold */
    BAD(OK "A: b\r\n\tc: d\r\n\r\n", "bad field name"),
    BAD(OK ": b\r\n\r\n", "bad field name"),
    BAD(OK "A\r\n\r\n", "bad field name"),
    BAD(OK "A b: c\r\n\r\n", "bad field name"),
    BAD(OK "A\x80: c\r\n\r\n", "bad field name"),
    BAD(OK "A(: c\r\n\r\n", "bad field name"),
    BAD(OK "A: b\001\r\n\r\n", "bad field value"),
    BAD(OK "A: 123456789012345\x7f\r\n\r\n", "bad field value"),
    BAD(OK "A: 1234567\x1f 12345678\r\n\r\n", "bad field value"),
    /* Content-Length */
    GOOD(OK "Content-Length: 5\r\n\r\n", "200 OK|5:length|keep|"),
    GOOD(OK "content-LENGTH:0005\r\n\r\n", "200 OK|5:length|keep|"),
    GOOD(OK "Content-Length: 0\r\n\r\n", "200 OK|0:none|keep|"),
    GOOD(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "200 OK|5:length|keep|"),
    GOOD(OK "Content-Length: 5, 05 ,5\r\n\r\n", "200 OK|5:length|keep|"),
    GOOD(OK "Content-Length: 576460752303423487\r\n\r\n", "200 OK|576460752303423487:length|keep|"),
    BAD(OK "Content-Length: 576460752303423488\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 99999999999999999999999999\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 18446744073709551617\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length:\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: abc\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: -6\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: +6\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 0x6\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 6 6\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 6,\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: ,6\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 6.0\r\n\r\n", "bad Content-Length"),
    BAD(OK "Content-Length: 6, 7\r\n\r\n", "differing Content-Length"),
    BAD(OK "Content-Length: 6\r\nContent-Length: 7\r\n\r\n", "differing Content-Length"),
    /* Transfer-Encoding */
    GOOD(OK "Transfer-Encoding: chunked\r\n\r\n", "200 OK|chunked|keep|"),
    GOOD(OK "TRANSFER-encoding:\tChunked \r\n\r\n", "200 OK|chunked|keep|"),
    BAD(OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding other than chunked"),
    BAD(OK "Transfer-Encoding: identity\r\n\r\n", "Transfer-Encoding other than chunked"),
    BAD(OK "Transfer-Encoding: xchunked\r\n\r\n", "Transfer-Encoding other than chunked"),
    BAD(OK "Transfer-Encoding:\r\n\r\n", "Transfer-Encoding other than chunked"),
    BAD(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding other than chunked"),
    BAD(OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "both Content-Length and Transfer-Encoding"),
    BAD(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "both Content-Length and Transfer-Encoding"),
    BAD("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in HTTP/1.0"),
    /* answers without a body */
    GOOD("HTTP/1.1 204 x\r\n\r\n", "204 x|none|keep|"),
    GOOD("HTTP/1.1 304 x\r\nETag: \"a\"\r\n\r\n", "304 x|none|keep|ETag=\"a\";"),
    GOOD("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", "204 x|5:none|close|"),
    GOOD("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", "304 x|5:none|close|"),
    GOOD("HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", "304 x|none|close|"),
    GOOD("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", "204 x|0:none|keep|"),
    HEAD(OK "Content-Length: 5\r\n\r\n", "200 OK|5:none|close|"),
    HEAD(OK "Content-Length: 0\r\n\r\n", "200 OK|0:none|keep|"),
    HEAD(OK "Transfer-Encoding: chunked\r\n\r\n", "200 OK|none|close|"),
    HEAD(OK "\r\n", "200 OK|none|close|"),
    /* whether the connection goes on */
    GOOD(OK "Content-Length: 5\r\nConnection: close\r\n\r\n", "200 OK|5:length|close|"),
    GOOD(OK "Content-Length: 5\r\nConnection: Keep-Alive\r\n\r\n", "200 OK|5:length|keep|"),
    GOOD(OK "Content-Length: 5\r\nConnection: x , CLOSE\r\n\r\n", "200 OK|5:length|close|"),
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "200 OK|5:length|close|"),
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
         "200 OK|5:length|keep|"),
    GOOD("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, close\r\n\r\n",
         "200 OK|5:length|close|"),
    /* fields of the connection */
    GOOD(OK "Keep-Alive: timeout=5\r\nTE: x\r\nTrailer: y\r\nUpgrade: z\r\nProxy-Connection: q\r\n"
            "Te2: a\r\n\r\n",
         "200 OK|until-close|close|Te2=a;"),
    GOOD(OK "X-One: 1\r\nConnection: x-one, X-Three,,\r\nX-Two: 2\r\nx-three: 3\r\n\r\n",
         "200 OK|until-close|close|X-Two=2;"),
    GOOD(OK "Proxy-Authenticate: Basic\r\nDate: now\r\nServer: gunicorn\r\n\r\n",
         "200 OK|until-close|close|Proxy-Authenticate=Basic;Date=now;Server=gunicorn;"),
    /* the helper's fields */
    GOOD(OK "sw8-stitch: 1;a\r\nA: b\r\n\r\n", "200 OK|until-close|close|A=b;|1;a*1"),
    GOOD(OK "SW8-Stitch: 1;a\r\nsw8-stitch: 1;b\r\n\r\n", "200 OK|until-close|close||1;a*2"),
    GOOD(OK "sw8-stitch-data: abc\r\nsw8-stitchx: y\r\nsw8: z\r\n\r\n",
         "200 OK|until-close|close|sw8=z;|data=abc*1"),
    GOOD(OK "sw8-stitch: 1;a\r\nSW8-Stitch-Data: a=\r\nsw8-stitch-data: b\r\n\r\n",
         "200 OK|until-close|close||1;a*1|data=a=*2"),
    GOOD(OK "Connection: sw8-stitch\r\nsw8-stitch: 1;a\r\n\r\n", "200 OK|until-close|close||1;a*1"),
};

static void summarise(const struct sky_answer *answer, char *dst)
{
    static const char *const framings[] = {"none", "length", "chunked", "until-close"};

    dst += sprintf(dst, "%d %.*s|", answer->status, (int)answer->reason.len, answer->reason.base);
    if (answer->content_length != SKY_ANSWER_NO_LENGTH)
        dst += sprintf(dst, "%llu:", (unsigned long long)answer->content_length);
    dst += sprintf(dst, "%s|%s|", framings[answer->framing], answer->keep_alive ? "keep" : "close");
    for (size_t i = 0; i < answer->field_count; ++i)
        dst +=
            sprintf(dst, "%.*s=%.*s;", (int)answer->fields[i].name.len, answer->fields[i].name.base,
                    (int)answer->fields[i].value.len, answer->fields[i].value.base);
    if (answer->stitch_count != 0)
        dst += sprintf(dst, "|%.*s*%zu", (int)answer->stitch.len, answer->stitch.base,
                       answer->stitch_count);
    if (answer->stitch_data_count != 0)
        sprintf(dst, "|data=%.*s*%zu", (int)answer->stitch_data.len, answer->stitch_data.base,
                answer->stitch_data_count);
}

static void expect(const struct sample *sample, enum sky_answer_result result,
                   const struct sky_answer *answer, const char *defect, size_t head_bytes)
{
    char summary[4096];

    if (sample->summary == NULL) {
        assert_int_equal(result, SKY_ANSWER_ERROR);
        assert_string_equal(defect, sample->defect);
        return;
    }
    assert_int_equal(result, SKY_ANSWER_DONE);
    assert_int_equal(answer->head_bytes, head_bytes);
    summarise(answer, summary);
    assert_string_equal(summary, sample->summary);
}

static void test_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); ++i) {
        const struct sample *sample = &samples[i];
        struct sky_answer_scan scan = {0};
        struct sky_answer answer;
        const char *defect = NULL;
        char input[1024];
        /* what follows the head is not looked at */
        snprintf(input, sizeof(input), "%s%s", sample->input,
                 sample->summary != NULL ? "\n\001body\r\n\r\n" : "");
        enum sky_answer_result result =
            sky_answer_parse(sky_text_of(input), sample->head_request, &scan, &answer, &defect);
        expect(sample, result, &answer, defect, strlen(sample->input));
    }
}

/* A copy of its own for each length: what lies behind must not be read. */
static enum sky_answer_result parse_prefix(const struct sample *sample, size_t len, char **copy,
                                           struct sky_answer_scan *scan, struct sky_answer *answer,
                                           const char **defect)
{
    free(*copy);
    *copy = malloc(len);
    memcpy(*copy, sample->input, len);
    return sky_answer_parse(sky_text(*copy, len), sample->head_request, scan, answer, defect);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); ++i) {
        const struct sample *sample = &samples[i];
        struct sky_answer_scan scan = {0};
        struct sky_answer answer;
        enum sky_answer_result result = SKY_ANSWER_MORE;
        const char *defect = NULL;
        char *copy = NULL;
        size_t len = 0;
        while (result == SKY_ANSWER_MORE && len < strlen(sample->input))
            result = parse_prefix(sample, ++len, &copy, &scan, &answer, &defect);
        expect(sample, result, &answer, defect, strlen(sample->input));
        free(copy);
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); ++i) {
        const struct sample *sample = &samples[i];
        for (size_t len = 1; len < strlen(sample->input); ++len) {
            struct sky_answer_scan scan = {0};
            struct sky_answer answer;
            const char *defect = NULL;
            char *copy = NULL;
            enum sky_answer_result result =
                parse_prefix(sample, len, &copy, &scan, &answer, &defect);
            if (sample->summary != NULL)
                assert_int_equal(result, SKY_ANSWER_MORE);
            else
                assert_int_not_equal(result, SKY_ANSWER_DONE);
            free(copy);
        }
    }
}

static void test_nul_is_refused(void **state)
{
    static const char *const heads[] = {OK "A: b?c\r\n\r\n", OK "A?: b\r\n\r\n",
                                        "HTTP/1.1 200 O?\r\n\r\n", "HTTP/1.1 2?0 OK\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); ++i) {
        struct sky_answer_scan scan = {0};
        struct sky_answer answer;
        const char *defect = NULL;
        char *copy = strdup(heads[i]);
        size_t len = strlen(copy);
        *strchr(copy, '?') = '\0';
        assert_int_equal(sky_answer_parse(sky_text(copy, len), false, &scan, &answer, &defect),
                         SKY_ANSWER_ERROR);
        free(copy);
    }
}

/* Builds OK, `count` times `line`, an empty line. */
static char *repeat(const char *line, size_t count, size_t *len)
{
    char *text = malloc(64 + count * strlen(line)), *at = stpcpy(text, OK);

    for (size_t i = 0; i < count; ++i)
        at = stpcpy(at, line);
    *len = (size_t)(stpcpy(at, "\r\n") - text);
    return text;
}

static void expect_limit(const char *line, size_t count, const char *wanted)
{
    struct sky_answer_scan scan = {0};
    struct sky_answer answer;
    const char *defect = NULL;
    size_t len;
    char *text = repeat(line, count, &len);
    enum sky_answer_result result =
        sky_answer_parse(sky_text(text, len), false, &scan, &answer, &defect);

    if (wanted == NULL) {
        assert_int_equal(result, SKY_ANSWER_DONE);
        assert_int_equal(answer.head_bytes, len);
    } else {
        assert_int_equal(result, SKY_ANSWER_ERROR);
        assert_string_equal(defect, wanted);
    }
    free(text);
}

static void test_limits(void **state)
{
    char cookie[400];

    (void)state;
    memset(cookie, 'x', sizeof(cookie));
    memcpy(cookie, "Set-Cookie: ", 12);
    memcpy(cookie + sizeof(cookie) - 3, "\r\n", 3);
    expect_limit(cookie, 30, NULL); /* 12 KB */
    expect_limit(cookie, 160, NULL);
    expect_limit(cookie, 165, "head too large");
    expect_limit("A: b\r\n", SKY_ANSWER_MAX_FIELDS, NULL);
    expect_limit("A: b\r\n", SKY_ANSWER_MAX_FIELDS + 1, "too many fields");
    expect_limit("Connection: a\r\n", SKY_ANSWER_MAX_NOMINATED, NULL);
    expect_limit("Connection: a\r\n", SKY_ANSWER_MAX_NOMINATED + 1, "too many names in Connection");
    expect_limit("Connection: close\r\n", 1000, NULL);
}

/* A head that never ends is refused when it is too large, not held for ever. */
static void test_endless_head(void **state)
{
    struct sky_answer_scan scan = {0};
    struct sky_answer answer;
    const char *defect = NULL;
    size_t len = 0;
    char *text = malloc(SKY_ANSWER_MAX_BYTES + 2);
    enum sky_answer_result result = SKY_ANSWER_MORE;

    (void)state;
    memset(text, 'x', SKY_ANSWER_MAX_BYTES + 2);
    memcpy(text, OK, strlen(OK));
    while (result == SKY_ANSWER_MORE && len < SKY_ANSWER_MAX_BYTES + 2)
        result = sky_answer_parse(sky_text(text, ++len), false, &scan, &answer, &defect);
    assert_int_equal(result, SKY_ANSWER_ERROR);
    assert_int_equal(len, SKY_ANSWER_MAX_BYTES + 1);
    assert_string_equal(defect, "head too large");
    free(text);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("answer") >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_endless_head),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

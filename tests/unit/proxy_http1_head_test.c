/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: what is served, what is refused and why; whole, cut at every byte, byte by byte.
 */
#include "proxy/front/http1_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "exact.h"
#include "tests/fuzz/corpus.h"

#define FIELDS 8

static const struct sky_head_limits limits = {64, 512, FIELDS};

struct sample {
    const char *input;
    enum sky_refusal refusal;
    const char *meaning; /* of what is served, as describe() tells it */
};

#define SERVED(input, meaning)           \
    {                                    \
        input, SKY_REFUSAL_none, meaning \
    }
#define REFUSED(input, reason)            \
    {                                     \
        input, SKY_REFUSAL_##reason, NULL \
    }
/* Request lines and fields within an otherwise plain head. */
#define LINE(line) line "\r\nHost: a\r\n\r\n"
#define FIELD(field) "GET / HTTP/1.1\r\nHost: a\r\n" field "\r\n\r\n"
#define HOST(value) "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n"

static const struct sample samples[] = {
    /* request lines */
    SERVED(LINE("GET / HTTP/1.1"), "GET / a 1.1 keep"),
    SERVED(LINE("GET / HTTP/1.0"), "GET / a 1.0"),
    SERVED("GET / HTTP/1.0\r\n\r\n", "GET / - 1.0"),
    SERVED("\r\nGET / HTTP/1.0\r\n\r\n", "GET / - 1.0"),
    SERVED(LINE("POST /a/b?c=d&e HTTP/1.1"), "POST /a/b?c=d&e a 1.1 keep"),
    SERVED(LINE("get / HTTP/1.1"), "get / a 1.1 keep"),
    SERVED(LINE("M-SEARCH / HTTP/1.1"), "M-SEARCH / a 1.1 keep"),
    SERVED(LINE("!#$%&'*+.^_`|~09 / HTTP/1.1"), "!#$%&'*+.^_`|~09 / a 1.1 keep"),
    SERVED(LINE("TRACE / HTTP/1.1"), "TRACE / a 1.1 keep"),
    SERVED(LINE("GET //a/../b/./%2e%00 HTTP/1.1"), "GET //a/../b/./%2e%00 a 1.1 keep"),
    SERVED(LINE("GET /\"<>[\\]^`{|} HTTP/1.1"), "GET /\"<>[\\]^`{|} a 1.1 keep"),
    SERVED(LINE("GET /\xc3\xa4\xff HTTP/1.1"), "GET /\xc3\xa4\xff a 1.1 keep"),
    SERVED(LINE("OPTIONS * HTTP/1.1"), "OPTIONS * a 1.1 keep"),
    SERVED(LINE("GET http://b/c HTTP/1.1"), "GET /c b 1.1 keep"),
    SERVED(LINE("GET HTTPS://B:1/c?d HTTP/1.1"), "GET /c?d B:1 1.1 keep"),
    SERVED(LINE("GET http://b HTTP/1.1"), "GET [/] b 1.1 keep"),
    SERVED(LINE("GET http://b?c HTTP/1.1"), "GET [/]?c b 1.1 keep"),
    SERVED(LINE("GET http://[::1]:80/c HTTP/1.1"), "GET /c [::1]:80 1.1 keep"),
    SERVED("GET http://b/c HTTP/1.0\r\n\r\n", "GET /c b 1.0"),
    REFUSED("GET http://b/c HTTP/1.1\r\n\r\n", host_missing),
    REFUSED(LINE("GET http:///c HTTP/1.1"), target),
    REFUSED(LINE("GET http://u@b/c HTTP/1.1"), target),
    REFUSED(LINE("GET http:/b/c HTTP/1.1"), target),
    REFUSED(LINE("GET http://b:x/c HTTP/1.1"), target),
    REFUSED(LINE("GET ftp://b/c HTTP/1.1"), target),
    REFUSED(LINE("GET * HTTP/1.1"), target),
    REFUSED(LINE("OPTIONS *a HTTP/1.1"), target),
    REFUSED(LINE("GET a HTTP/1.1"), target),
    REFUSED(LINE("GET ?a HTTP/1.1"), target),
    REFUSED(LINE("GET a:80 HTTP/1.1"), target),
    REFUSED(LINE("GET /#a HTTP/1.1"), target),
    REFUSED(LINE("GET /\x01 HTTP/1.1"), target),
    REFUSED(LINE("GET /\x7f HTTP/1.1"), target),
    REFUSED(LINE("GET /a\tb HTTP/1.1"), target),
    REFUSED(LINE("GET /a\rb HTTP/1.1"), target),
    REFUSED(LINE("CONNECT a:80 HTTP/1.1"), connect),
    REFUSED(LINE("CONNECT / HTTP/1.0"), connect),
    REFUSED("GET /\r\n\r\n", request_line),
    REFUSED(LINE("GET"), request_line),
    REFUSED(LINE("GET / "), request_line),
    REFUSED(LINE("GET  / HTTP/1.1"), request_line),
    REFUSED(LINE("GET /  HTTP/1.1"), request_line),
    REFUSED(LINE("GET / HTTP/1.1 "), request_line),
    REFUSED(LINE("GET / a HTTP/1.1"), request_line),
    REFUSED(LINE("GET / HTTP/1.1\t"), request_line),
    REFUSED(LINE("GET / http/1.1"), request_line),
    REFUSED(LINE("GET / HTTP/1"), request_line),
    REFUSED(LINE("GET / HTTP/1.10"), request_line),
    REFUSED(LINE("GET / HTTP/11"), request_line),
    REFUSED(LINE("GET / HTTP/1,1"), request_line),
    REFUSED(LINE("GET / HTTP/a.1"), request_line),
    REFUSED(LINE("GET / XTTP/1.1"), request_line),
    REFUSED(LINE("GET / HTTP/1.2"), version),
    REFUSED(LINE("GET / HTTP/2.0"), version),
    REFUSED(LINE("GET / HTTP/0.9"), version),
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", version),
    REFUSED(LINE("GE(T / HTTP/1.1"), method),
    REFUSED(LINE("GET\t/ HTTP/1.1"), method),
    REFUSED(LINE("G\xc3\xa4T / HTTP/1.1"), method),
    REFUSED(LINE("GET:/ HTTP/1.1"), method),
    REFUSED(" GET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\tGET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\nGET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\rGET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\r\n\r\nGET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\r\n\nGET / HTTP/1.1\r\n\r\n", not_http),
    REFUSED("\x16\x03\x01\x02", not_http),
    REFUSED("{\"a\":1}", not_http),
    REFUSED("\xef\xbb\xbfGET / HTTP/1.1\r\n\r\n", not_http),
    /* line ends */
    REFUSED("GET / HTTP/1.1\nHost: a\r\n\r\n", bare_lf),
    REFUSED("GET / HTTP/1.1\r\nHost: a\n\r\n", bare_lf),
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\n", bare_lf),
    REFUSED("GET / HTTP/1.1\n\n", bare_lf),
    REFUSED(FIELD("X: 1\n2"), bare_lf),
    REFUSED(FIELD("X: 1\r2"), control),
    REFUSED(FIELD("X: 1\r"), control),
    REFUSED("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", request_line),
    REFUSED("GET / HTTP/1.1\rHost: a\r\n\r\n", request_line),
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", field_name),
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n", field_name),
    /* fields */
    SERVED(FIELD("X-A: 1"), "GET / a 1.1 keep X-A=1;"),
    SERVED(FIELD("X-A:1"), "GET / a 1.1 keep X-A=1;"),
    SERVED(FIELD("X-A:\t 1 2\t "), "GET / a 1.1 keep X-A=1 2;"),
    SERVED(FIELD("X-A:"), "GET / a 1.1 keep X-A=;"),
    SERVED(FIELD("X-A: \t"), "GET / a 1.1 keep X-A=;"),
    SERVED(FIELD("X-A: :b:"), "GET / a 1.1 keep X-A=:b:;"),
    SERVED(FIELD("X-A: \xc3\xa4\xff"), "GET / a 1.1 keep X-A=\xc3\xa4\xff;"),
    SERVED(FIELD("X-A: 1\r\nx-a: 2\r\nX-A: 1"), "GET / a 1.1 keep X-A=1;x-a=2;X-A=1;"),
    SERVED(FIELD("!#$%&'*+-.^`|~0: 1"), "GET / a 1.1 keep !#$%&'*+-.^`|~0=1;"),
    SERVED(FIELD("Upgrade: websocket"), "GET / a 1.1 keep"),
    SERVED(FIELD("UPGRADE: h2c\r\nUpgrade: x"), "GET / a 1.1 keep"),
    SERVED(FIELD("Connection: a, UPGRADE\r\nUpgrade: websocket"),
           "GET / a 1.1 keep upgrade=websocket Connection=a, UPGRADE;"),
    SERVED(FIELD("Upgrade: foo/2, bar\r\nConnection: upgrade"),
           "GET / a 1.1 keep upgrade=foo/2, bar Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 0"),
           "GET / a 1.1 keep len=0 upgrade=x Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1"),
           "GET / a 1.1 keep len=1 Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x\r\nUpgrade: y"),
           "GET / a 1.1 keep Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x,\tH2C"),
           "GET / a 1.1 keep Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: HTTP/2.0"),
           "GET / a 1.1 keep Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x,"),
           "GET / a 1.1 keep upgrade=x, Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade: x y"), "GET / a 1.1 keep Connection=upgrade;"),
    SERVED(FIELD("Connection: upgrade\r\nUpgrade:"), "GET / a 1.1 keep Connection=upgrade;"),
    SERVED("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
           "GET / a 1.0 Connection=upgrade;"),
    SERVED(FIELD("Proxy-Authorization: x"), "GET / a 1.1 keep Proxy-Authorization=x;"),
    REFUSED(FIELD("X-A: 1\r\n 2"), folding),
    REFUSED(FIELD("X-A: 1\r\n\t2"), folding),
    REFUSED(FIELD("X-A: 1\r\n "), folding),
    REFUSED("GET / HTTP/1.1\r\n Host: a\r\n\r\n", folding),
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", folding),
    REFUSED(FIELD("X-A : 1"), blank_before_colon),
    REFUSED(FIELD("X-A\t: 1"), blank_before_colon),
    REFUSED(FIELD("Transfer-Encoding : chunked"), blank_before_colon),
    REFUSED(FIELD(": 1"), field_name),
    REFUSED(FIELD("X-A"), field_name),
    REFUSED(FIELD("X-A 1"), field_name),
    REFUSED(FIELD("X-A "), field_name),
    REFUSED(FIELD("X A: 1"), field_name),
    REFUSED(FIELD("X(A: 1"), field_name),
    REFUSED(FIELD("X@A: 1"), field_name),
    REFUSED(FIELD("X{: 1"), field_name),
    REFUSED(FIELD("\"X\": 1"), field_name),
    REFUSED(FIELD("X\x01: 1"), field_name),
    REFUSED(FIELD("X\xc3\xa4: 1"), field_name),
    REFUSED(FIELD("X-A: 1\x01"), control),
    REFUSED(FIELD("X-A: \x0b"), control),
    REFUSED(FIELD("X-A: 1\x7f"), control),
    REFUSED(FIELD("X-A: \x1b[0m"), control),
    REFUSED(FIELD("X_A: \x1b"), control),
    /* names that an underscore makes equal to another in WSGI */
    SERVED(FIELD("X_A: 1"), "GET / a 1.1 keep dropped=1"),
    SERVED(FIELD("Content_Length: 3\r\nTransfer_Encoding: chunked"), "GET / a 1.1 keep dropped=2"),
    SERVED(FIELD("_: 1\r\nA_: 2\r\nX-B: 3"), "GET / a 1.1 keep dropped=2 X-B=3;"),
    SERVED("GET / HTTP/1.1\r\nHost: a\r\nH_ost: b\r\n\r\n", "GET / a 1.1 keep dropped=1"),
    /* Host */
    SERVED(HOST("shop.example"), "GET / shop.example 1.1 keep"),
    SERVED(HOST("Shop_1.example:8080"), "GET / Shop_1.example:8080 1.1 keep"),
    SERVED(HOST("127.0.0.1:80"), "GET / 127.0.0.1:80 1.1 keep"),
    SERVED(HOST("[::1]"), "GET / [::1] 1.1 keep"),
    SERVED(HOST("[2001:db8::1]:80"), "GET / [2001:db8::1]:80 1.1 keep"),
    SERVED(HOST("[fe80::1%25eth0]"), "GET / [fe80::1%25eth0] 1.1 keep"),
    SERVED(HOST("a:"), "GET / a: 1.1 keep"),
    SERVED(HOST("a%20b"), "GET / a%20b 1.1 keep"),
    SERVED(HOST(""), "GET /  1.1 keep"),
    REFUSED("GET / HTTP/1.1\r\n\r\n", host_missing),
    REFUSED("GET / HTTP/1.1\r\nX-A: 1\r\n\r\n", host_missing),
    REFUSED("GET / HTTP/1.1\r\nH_ost: a\r\n\r\n", host_missing),
    REFUSED(FIELD("Host: a"), host_repeated),
    REFUSED(FIELD("hOST: b"), host_repeated),
    REFUSED("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", host_repeated),
    REFUSED(HOST("a b"), host),
    REFUSED(HOST("a/b"), host),
    REFUSED(HOST("a@b"), host),
    REFUSED(HOST("a?b"), host),
    REFUSED(HOST("a#b"), host),
    REFUSED(HOST("a\\b"), host),
    REFUSED(HOST("a<b"), host),
    REFUSED(HOST("a\"b"), host),
    REFUSED(HOST("a\tb"), host),
    REFUSED(HOST("a:b"), host),
    REFUSED(HOST("a:80:81"), host),
    REFUSED(HOST("a:-1"), host),
    REFUSED(HOST(":80"), host),
    REFUSED(HOST("::1"), host),
    REFUSED(HOST("[::1"), host),
    REFUSED(HOST("[]"), host),
    REFUSED(HOST("[::1]a"), host),
    REFUSED(HOST("[::1]:a"), host),
    REFUSED(HOST("[:/:1]"), host),
    REFUSED(HOST("\xc3\xa4"), host),
    REFUSED(HOST("http://a"), host),
    /* Content-Length */
    SERVED(FIELD("Content-Length: 3"), "GET / a 1.1 keep len=3"),
    SERVED(FIELD("Content-Length: 0"), "GET / a 1.1 keep len=0"),
    SERVED(FIELD("content-length:00003"), "GET / a 1.1 keep len=3"),
    SERVED(FIELD("Content-Length: 3 "), "GET / a 1.1 keep len=3"),
    SERVED(FIELD("Content-Length: 9223372036854775807"),
           "GET / a 1.1 keep len=9223372036854775807"),
    REFUSED(FIELD("Content-Length: 9223372036854775808"), length),
    REFUSED(FIELD("Content-Length: 18446744073709551616"), length),
    REFUSED(FIELD("Content-Length: 18446744073709551619"), length),
    REFUSED(FIELD("Content-Length: 99999999999999999999999"), length),
    REFUSED(FIELD("Content-Length:"), length),
    REFUSED(FIELD("Content-Length: +3"), length),
    REFUSED(FIELD("Content-Length: -3"), length),
    REFUSED(FIELD("Content-Length: 0x3"), length),
    REFUSED(FIELD("Content-Length: 3a"), length),
    REFUSED(FIELD("Content-Length: 3.0"), length),
    REFUSED(FIELD("Content-Length: 3_0"), length),
    REFUSED(FIELD("Content-Length: 3, 3"), length),
    REFUSED(FIELD("Content-Length: 3 3"), length),
    REFUSED(FIELD("Content-Length: \"3\""), length),
    REFUSED(FIELD("Content-Length: \xb2"), length),
    REFUSED(FIELD("Content-Length: 3\r\nContent-Length: 3"), length_repeated),
    REFUSED(FIELD("Content-Length: 3\r\ncontent-length: 4"), length_repeated),
    /* Transfer-Encoding */
    SERVED(FIELD("Transfer-Encoding: chunked"), "GET / a 1.1 keep chunked"),
    SERVED(FIELD("transfer-encoding:\tCHUNKED "), "GET / a 1.1 keep chunked"),
    SERVED(FIELD("TE: trailers"), "GET / a 1.1 keep TE=trailers;"),
    REFUSED(FIELD("Transfer-Encoding:"), coding),
    REFUSED(FIELD("Transfer-Encoding: identity"), coding),
    REFUSED(FIELD("Transfer-Encoding: xchunked"), coding),
    REFUSED(FIELD("Transfer-Encoding: chunkedx"), coding),
    REFUSED(FIELD("Transfer-Encoding: chunked, chunked"), coding),
    REFUSED(FIELD("Transfer-Encoding: gzip, chunked"), coding),
    REFUSED(FIELD("Transfer-Encoding: chunked;a=b"), coding),
    REFUSED(FIELD("Transfer-Encoding: \"chunked\""), coding),
    REFUSED(FIELD("Transfer-Encoding: chunked,"), coding),
    REFUSED(FIELD("Transfer-Encoding: \x0b"
                  "chunked"),
            control),
    REFUSED(FIELD("Transfer-Encoding:\r\n chunked"), folding),
    REFUSED(FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), coding_repeated),
    REFUSED(FIELD("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), coding_repeated),
    REFUSED("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", coding_in_http10),
    REFUSED(FIELD("Content-Length: 3\r\nTransfer-Encoding: chunked"), coding_and_length),
    REFUSED(FIELD("Transfer-Encoding: chunked\r\nContent-Length: 3"), coding_and_length),
    REFUSED(FIELD("Transfer-Encoding: chunked\r\nContent-Length: 0"), coding_and_length),
    /* Connection, Expect */
    SERVED(FIELD("Connection: close"), "GET / a 1.1 Connection=close;"),
    SERVED(FIELD("Connection: keep-alive"), "GET / a 1.1 keep Connection=keep-alive;"),
    SERVED(FIELD("Connection: keep-alive, CLOSE"), "GET / a 1.1 Connection=keep-alive, CLOSE;"),
    SERVED(FIELD("Connection: x ,\tclose ,,"), "GET / a 1.1 Connection=x ,\tclose ,,;"),
    SERVED(FIELD("Connection: x\r\nConnection: close"),
           "GET / a 1.1 Connection=x;Connection=close;"),
    SERVED(FIELD("Connection: closed"), "GET / a 1.1 keep Connection=closed;"),
    SERVED("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
           "GET / - 1.0 keep Connection=Keep-Alive;"),
    SERVED("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
           "GET / - 1.0 Connection=keep-alive, close;"),
    SERVED(FIELD("Expect: 100-continue"), "GET / a 1.1 keep expect"),
    SERVED(FIELD("Expect: 100-Continue"), "GET / a 1.1 keep expect"),
    SERVED("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "GET / - 1.0"),
    REFUSED(FIELD("Expect: tea"), expectation),
    REFUSED(FIELD("Expect:"), expectation),
    REFUSED(FIELD("Expect: 100-continue, x"), expectation),
    /* sizes: 64 bytes of request line, 8 fields */
    SERVED(LINE("GET /12345678901234567890123456789012345678901234567890 HTTP/1.1"),
           "GET /12345678901234567890123456789012345678901234567890 a 1.1 keep"),
    REFUSED(LINE("GET /123456789012345678901234567890123456789012345678901 HTTP/1.1"),
            request_line_size),
    REFUSED("GET /3456789012345678901234567890123456789012345678901234567890123456789",
            request_line_size),
    REFUSED("GET /123456789012345678901234567890123456789012345678901 HTTP/1.1\n",
            request_line_size),
    SERVED(FIELD("A:1\r\nA:2\r\nA:3\r\nA:4\r\nA:5\r\nA:6\r\nA:7"),
           "GET / a 1.1 keep A=1;A=2;A=3;A=4;A=5;A=6;A=7;"),
    REFUSED(FIELD("A:1\r\nA:2\r\nA:3\r\nA:4\r\nA:5\r\nA:6\r\nA:7\r\nA:8"), field_count),
    REFUSED(FIELD("A_:1\r\nA_:2\r\nA_:3\r\nA_:4\r\nA_:5\r\nA_:6\r\nA_:7\r\nA_:8"), field_count),
};

/* ---- one sample ---- */

static void describe(const struct sky_head *head, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%.*s %s%.*s %.*s 1.%d%s", (int)head->method.len,
                                 head->method.base, head->target_lacks_slash ? "[/]" : "",
                                 (int)head->target.len, head->target.base,
                                 head->authority.base == NULL ? 1 : (int)head->authority.len,
                                 head->authority.base == NULL ? "-" : head->authority.base,
                                 head->http11, head->keep_alive ? " keep" : "");

    if (head->chunked)
        at += (size_t)snprintf(text + at, size - at, " chunked");
    if (head->has_length)
        at += (size_t)snprintf(text + at, size - at, " len=%llu",
                               (unsigned long long)head->content_length);
    if (head->expects_continue)
        at += (size_t)snprintf(text + at, size - at, " expect");
    if (head->dropped_count != 0)
        at += (size_t)snprintf(text + at, size - at, " dropped=%zu", head->dropped_count);
    if (head->upgrade.len != 0)
        at += (size_t)snprintf(text + at, size - at, " upgrade=%.*s", (int)head->upgrade.len,
                               head->upgrade.base);
    for (size_t i = 0; i < head->field_count; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%.*s=%.*s;", i == 0 ? " " : "",
                               (int)head->fields[i].name.len, head->fields[i].name.base,
                               (int)head->fields[i].value.len, head->fields[i].value.base);
}

static void check(const struct sample *sample, const struct sky_head_scan *scan,
                  enum sky_head_result result, struct sky_text input)
{
    struct sky_head_field fields[FIELDS];
    struct sky_head head = {.fields = fields};
    enum sky_refusal refusal = scan->refusal;
    char text[1024];

    if (result == SKY_HEAD_MORE)
        fail_msg("%s: not decided", sample->input);
    if (result == SKY_HEAD_WHOLE) {
        struct sky_text copy = exact_copy(input.base + scan->begin, scan->end - scan->begin);
        refusal = sky_head_parse(copy, &head);
        describe(&head, text, sizeof text);
        exact_free(copy);
    }
    if (refusal != sample->refusal)
        fail_msg("%s: %s, not %s", sample->input,
                 refusal == SKY_REFUSAL_none ? "served" : sky_refusal_row(refusal)->name,
                 sample->refusal == SKY_REFUSAL_none ? "served"
                                                     : sky_refusal_row(sample->refusal)->name);
    if (refusal == SKY_REFUSAL_none)
        assert_string_equal(text, sample->meaning);
}

static void test_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct sky_text input = exact_copy(samples[i].input, strlen(samples[i].input));
        struct sky_head_scan scan = {0};
        enum sky_head_result result = sky_head_scan(&scan, &limits, input);
        check(&samples[i], &scan, result, input);
        exact_free(input);
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        size_t len = strlen(samples[i].input);
        for (size_t cut = 0; cut <= len; cut++) {
            struct sky_head_scan scan = {0};
            struct sky_text input = exact_copy(samples[i].input, cut);
            enum sky_head_result result = sky_head_scan(&scan, &limits, input);
            exact_free(input);
            input = exact_copy(samples[i].input, len);
            if (result == SKY_HEAD_MORE)
                result = sky_head_scan(&scan, &limits, input);
            check(&samples[i], &scan, result, input);
            exact_free(input);
        }
    }
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct sky_text input = sky_text_of(samples[i].input);
        struct sky_head_scan scan = {0};
        enum sky_head_result result = SKY_HEAD_MORE;
        for (size_t len = 0; len <= input.len && result == SKY_HEAD_MORE; len++)
            result = sky_head_scan(&scan, &limits, sky_text(input.base, len));
        check(&samples[i], &scan, result, input);
    }
}

/* ---- what texts cannot hold ---- */

static void test_nul(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        size_t len;
        enum sky_refusal refusal;
    } inputs[] = {
        {"\0GET / HTTP/1.1\r\n\r\n", 19, SKY_REFUSAL_not_http},
        {"GE\0T / HTTP/1.1\r\n\r\n", 19, SKY_REFUSAL_method},
        {"GET /\0 HTTP/1.1\r\n\r\n", 19, SKY_REFUSAL_target},
        {"GET / HTTP/1.1\0\r\n\r\n", 19, SKY_REFUSAL_request_line},
        {"GET / HTTP/1.1\r\nX\0Y: a\r\n\r\n", 26, SKY_REFUSAL_field_name},
        {"GET / HTTP/1.1\r\nXY: \0a\r\n\r\n", 26, SKY_REFUSAL_control},
        {"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 28, SKY_REFUSAL_control},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        struct sky_head_scan scan = {0};
        struct sample sample = {inputs[i].input, inputs[i].refusal, NULL};
        struct sky_text input = sky_text(inputs[i].input, inputs[i].len);
        enum sky_head_result result = sky_head_scan(&scan, &limits, input);
        check(&sample, &scan, result, input);
    }
}

/* The whole head up to its limit, empty line included, and one byte more. */
static void test_head_size(void **state)
{
    (void)state;
    for (size_t size = limits.head_bytes; size <= limits.head_bytes + 1; size++) {
        struct sky_head_scan scan = {0};
        char text[1024];
        int filler = (int)(size - strlen("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"));
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nX: %0*d\r\n\r\n", filler, 1);
        assert_int_equal(strlen(text), size);
        enum sky_head_result result = sky_head_scan(&scan, &limits, sky_text_of(text));
        assert_int_equal(result, size > limits.head_bytes ? SKY_HEAD_REFUSED : SKY_HEAD_WHOLE);
        assert_int_equal(scan.refusal,
                         size > limits.head_bytes ? SKY_REFUSAL_head_size : SKY_REFUSAL_none);
    }
}

static void test_head_size_without_line_end(void **state)
{
    (void)state;
    struct sky_head_scan scan = {0};
    char text[1024];

    memset(text, 'x', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(sky_head_scan(&scan, &limits, sky_text(text, 512)), SKY_HEAD_MORE);
    assert_int_equal(sky_head_scan(&scan, &limits, sky_text(text, 513)), SKY_HEAD_REFUSED);
    assert_int_equal(scan.refusal, SKY_REFUSAL_head_size);
}

/* Everything but what stops at its own byte is decided by the head's last byte, not earlier. */
static void test_more(void **state)
{
    (void)state;
    struct sky_text input = SKY_TEXT(LINE("GET / HTTP/1.1"));

    for (size_t len = 0; len < input.len; len++) {
        struct sky_head_scan scan = {0};
        assert_int_equal(sky_head_scan(&scan, &limits, sky_text(input.base, len)), SKY_HEAD_MORE);
    }
}

static void test_end(void **state)
{
    (void)state;
    struct sky_head_scan scan = {0};

    assert_int_equal(
        sky_head_scan(&scan, &limits, SKY_TEXT("\r\n" LINE("GET / HTTP/1.1") "body\r\n\r\n")),
        SKY_HEAD_WHOLE);
    assert_int_equal(scan.begin, 2);
    assert_int_equal(scan.end, 2 + strlen(LINE("GET / HTTP/1.1")));
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("head") >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_byte_by_byte), cmocka_unit_test(test_nul),
        cmocka_unit_test(test_head_size),    cmocka_unit_test(test_head_size_without_line_end),
        cmocka_unit_test(test_more),         cmocka_unit_test(test_end),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

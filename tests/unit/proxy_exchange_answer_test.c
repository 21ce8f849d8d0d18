/* SPDX-License-Identifier: Apache-2.0 */
/* What of an app's answer head h2o is told. */
#include "proxy/exchange/exchange_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* Parses and fills; texts of req->res point into `head`, which is writable and outlives it. */
static void fill(h2o_req_t *req, const char *head)
{
    struct sky_answer_scan scan = {0};
    struct sky_answer answer;
    const char *defect = NULL;

    h2o_init_request(req, NULL, NULL);
    assert_int_equal(sky_answer_parse(sky_text_of(head), false, &scan, &answer, &defect),
                     SKY_ANSWER_DONE);
    sky_exchange_fill_response(req, &answer);
}

static void test_fields(void **state)
{
    h2o_req_t req;

    (void)state;
    fill(&req, "HTTP/1.1 404 Nobody Home\r\nDATE: x\r\nX-Own-Field: 1\r\nLocation: /a\r\n"
               "Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 7\r\n\r\n");
    assert_int_equal(req.res.status, 404);
    assert_string_equal(req.res.reason, "Nobody Home");
    assert_int_equal(req.res.content_length, 7);
    assert_int_equal(req.res.headers.size, 4);
    const h2o_header_t *fields = req.res.headers.entries;
    /* a name that h2o does not know: lower case for HTTP/2, the app's own for HTTP/1 */
    assert_false(h2o_iovec_is_token(fields[0].name));
    assert_int_equal(fields[0].name->len, 11);
    assert_memory_equal(fields[0].name->base, "x-own-field", 11);
    assert_memory_equal(fields[0].orig_name, "X-Own-Field", 11);
    assert_ptr_equal(fields[1].name, &H2O_TOKEN_LOCATION->buf);
    assert_memory_equal(fields[1].value.base, "/a", 2);
    assert_ptr_equal(fields[2].name, &H2O_TOKEN_SET_COOKIE->buf);
    assert_ptr_equal(fields[3].name, &H2O_TOKEN_SET_COOKIE->buf);
    assert_memory_equal(fields[3].value.base, "b", 1);
    h2o_mem_clear_pool(&req.pool);
}

static void test_length(void **state)
{
    static const struct {
        const char *head;
        size_t length;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", SIZE_MAX},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0},
        {"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", SIZE_MAX}, /* RFC 9110, 8.6 */
        {"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        h2o_req_t req;
        fill(&req, cases[i].head);
        assert_int_equal(req.res.content_length, cases[i].length);
        h2o_mem_clear_pool(&req.pool);
    }
}

static void test_long_names(void **state)
{
    h2o_req_t req;
    char head[512] = "HTTP/1.1 200 OK\r\n";

    (void)state;
    for (int i = 0; i < 200; ++i)
        strcat(head, "N");
    strcat(head, ": v\r\n\r\n");
    fill(&req, head);
    assert_int_equal(req.res.headers.entries[0].name->len, 200);
    assert_int_equal(req.res.headers.entries[0].name->base[199], 'n');
    assert_int_equal(req.res.headers.entries[0].orig_name[199], 'N');
    h2o_mem_clear_pool(&req.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

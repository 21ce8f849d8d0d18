/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange between a client and an app that does as it likes. */
#include "proxy/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

static struct bench *start(bool unix_socket)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    bench_start(bench, unix_socket);
    return bench;
}

static void stop(struct bench *bench)
{
    bench_stop(bench);
    free(bench);
}

static void test_get_keeps_both_connections(void **state)
{
    (void)state;
    for (int unix_socket = 0; unix_socket < 2; ++unix_socket) {
        struct bench *bench = start(unix_socket);
        int client = client_connect(bench), app = -1;
        for (int i = 1; i <= 3; ++i) {
            bool cut;
            send_text(client, "GET /a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n");
            if (app == -1)
                app = app_accept(bench);
            char *request = read_request(app);
            assert_non_null(strstr(request, "GET /a?b=c HTTP/1.1\r\nHost: shop\r\n"));
            assert_non_null(strstr(request, "\r\nX-Forwarded-For: 127.0.0.1\r\n"));
            assert_non_null(strstr(request, "\r\nsw8: attempt-1\r\n"));
            send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nsw8-stitch: 1;x\r\n\r\nhello");
            char *response = read_response(client, &cut);
            assert_false(cut);
            assert_int_equal(status_of(response), 200);
            assert_string_equal(body_of(response), "hello");
            assert_null(strcasestr(response, "sw8"));
            struct notes notes = bench_notes(i);
            assert_int_equal(notes.attempts, 1);
            assert_int_equal(notes.sent, 1);
            assert_int_equal(notes.answered, 1);
            assert_int_equal(notes.stitch_count, 1);
            assert_string_equal(notes.stitch, "1;x");
            assert_int_equal(notes.outcome.status, 200);
            assert_int_equal(notes.outcome.body_bytes, 5);
            assert_false(notes.outcome.client_gone);
            assert_false(notes.outcome.cut);
            assert_null(notes.outcome.failure);
            free(request);
            free(response);
        }
        assert_int_equal(bench_counter(bench, SKY_COUNT_upstream_connects), 1);
        close(client);
        close(app);
        stop(bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_keeps_both_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

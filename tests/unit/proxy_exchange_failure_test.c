/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange when something fails: the app at each step, the client at each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

#define GET "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
#define HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define STREAM "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

/* --- answers that do not come, or stop --- */

static void test_response_timeout(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->config.timeouts.response_ms = 100;
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\n");
    bench_expect_failure(bench, client, SKY_FAILURE_RESPONSE_TIMEOUT, 1);
    wait_closed(app);
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_timeout_within_the_body(void **state)
{
    struct bench *bench = bench_new();
    bool cut;

    (void)state;
    bench->config.timeouts.response_ms = 1000;
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, STREAM "4\r\npart\r\n");
    char *response = read_response(client, &cut);
    assert_true(cut);
    assert_string_equal(body_of(response), "part");
    free(response);
    wait_closed(app);
    struct notes notes = bench_notes(1);
    assert_true(notes.outcome.cut);
    assert_string_equal(notes.failure, "response timeout");
    assert_int_equal(notes.outcome.status, 200);
    assert_int_equal(notes.outcome.body_bytes, 4);
    close(app);
    close(client);
    bench_stop(bench);
}

/* The clock of the app stands while it is the client that holds it up. */
static void test_slow_client_is_no_timeout(void **state)
{
    struct bench *bench = bench_new();
    const size_t len = 16 << 20;
    char *body = calloc(1, len + 1);
    int small = 4096, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool cut;

    (void)state;
    memset(body, 'x', len);
    bench->config.timeouts.response_ms = 1000;
    bench_start(bench, true);
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_connect_by(bench, client);
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n");
    pthread_t sender;
    struct sending sending = {app, body, len};
    pthread_create(&sender, NULL, send_in_thread, &sending);
    usleep(1500000); /* more than the app's limit */
    char *response = read_response(client, &cut);
    pthread_join(sender, NULL);
    assert_false(cut);
    assert_int_equal(strlen(body_of(response)), len);
    free(response);
    free(body);
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_cut_until_close_by_reset(void **state)
{
    struct bench *bench = bench_started(false);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    int client = client_connect(bench);

    (void)state;
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\n\r\npart");
    char *head = read_head_response(client);
    setsockopt(app, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(app);
    char *rest = read_eof(client);
    assert_null(strstr(rest, "0\r\n\r\n"));
    assert_true(bench_notes(1).outcome.cut);
    free(head);
    free(rest);
    close(client);
    bench_stop(bench);
}

/* --- the client goes --- */

static void test_client_leaves(void **state)
{
    static const char *const answers[] = {
        "",                               /* while the app works */
        "HTTP/1.1 200 OK\r\nContent-Len", /* within the head */
        STREAM,                           /* before the body */
        STREAM "4\r\npart\r\n",           /* within it */
        "HTTP/1.1 103 x\r\n\r\n",         /* after an interim answer */
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); ++i) {
        struct bench *bench = bench_started(i % 2 == 0);
        int client = client_connect(bench);
        send_text(client, GET);
        int app = app_accept(bench);
        free(read_request(app));
        send_text(app, answers[i]);
        if (i >= 2)
            free(read_head_response(client));
        close(client);
        wait_closed(app);
        struct notes notes = bench_notes(1);
        assert_true(notes.outcome.client_gone);
        assert_false(notes.outcome.cut);
        assert_string_equal(notes.failure, "");
        assert_int_equal(notes.outcome.status, i < 2 || i == 4 ? 0 : 200);
        close(app);
        bench_stop(bench);
    }
}

static void test_client_leaves_its_upload(void **state)
{
    struct bench *bench = bench_started(true);
    char *body = calloc(1, 8 << 20);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 8388608\r\n\r\n");
    send_bytes(client, body, 8 << 20);
    int app = app_accept(bench);
    free(read_head_response(app)); /* the rest is still being written */
    close(client);
    struct notes notes = bench_notes(1); /* before the app reads: it would take all of the rest */
    assert_true(notes.outcome.client_gone);
    assert_int_equal(notes.sent, 0);
    wait_closed(app);
    free(body);
    close(app);
    bench_stop(bench);
}

/* All of the answer has been handed to h2o, but not all of it to the kernel, when the client
 * leaves. */
static void test_client_leaves_at_the_end(void **state)
{
    const size_t len = 60000;
    struct bench *bench = bench_new();
    char *body = calloc(1, len);
    int small = 4096, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    bench->small_buffers = true;
    bench_start(bench, true);
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_connect_by(bench, client);
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n");
    send_bytes(app, body, len);
    wait_closed(app); /* the proxy has it all */
    /* more than came with the head, so the rest of it is on its way in one piece */
    free(read_exactly(client, 12000));
    close(client); /* with bytes unread: a reset */
    struct notes notes = bench_notes(1);
    assert_true(notes.outcome.client_gone);
    assert_int_equal(notes.outcome.status, 200);
    assert_string_equal(notes.failure, "");
    free(body);
    close(app);
    bench_stop(bench);
}

/* --- requests that are not sent to the app --- */

static void test_no_route(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->route_path = "/app/";
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, GET);
    assert_int_equal(bench_expect_failure(bench, client, SKY_FAILURE_NO_ROUTE, 1).attempts, 0);
    send_text(client, "GET /x/%2e%2e/%61pp/?q HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    char *request = read_request(app);
    assert_memory_equal(request, "GET /x/%2e%2e/%61pp/?q ", 23); /* raw all the same */
    free(request);
    send_text(app, HI);
    expect_response(client, 200, "hi");
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_body_too_large(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->config.limits.body = 3;
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, POST);
    assert_int_equal(bench_expect_failure(bench, client, SKY_FAILURE_BODY_TOO_LARGE, 1).attempts,
                     0);
    close(client);
    bench_stop(bench);
}

static void test_pages(void **state)
{
    struct bench *bench = bench_started(true);
    bool cut;

    (void)state;
    close(bench->app_fd);
    bench->app_fd = -1;
    int client = client_connect(bench);
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\nAccept: text/html, */*\r\n\r\n");
    char *response = read_response(client, &cut);
    assert_non_null(strstr(response, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(response, "<title>502 Bad Gateway</title>"));
    assert_non_null(strstr(response, "\r\nCache-Control: no-store\r\n"));
    assert_null(strstr(response, bench->unix_path)); /* no inner address */
    free(response);
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\nAccept: application/json\r\n\r\n");
    response = read_response(client, &cut);
    assert_non_null(strstr(response, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_memory_equal(body_of(response), "502 Bad Gateway\n", 16);
    free(response);
    send_text(client, "HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n");
    response = read_head_response(client);
    assert_int_equal(status_of(response), 502);
    assert_string_equal(body_of(response), "");
    free(response);
    close(client);
    bench_stop(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_response_timeout),
        cmocka_unit_test(test_timeout_within_the_body),
        cmocka_unit_test(test_slow_client_is_no_timeout),
        cmocka_unit_test(test_cut_until_close_by_reset),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_client_leaves_its_upload),
        cmocka_unit_test(test_client_leaves_at_the_end),
        cmocka_unit_test(test_no_route),
        cmocka_unit_test(test_body_too_large),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

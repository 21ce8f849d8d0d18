/* SPDX-License-Identifier: Apache-2.0 */
/* Kept connections: which request goes by one, and what happens when the app gives it up meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

#define GET "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
#define HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

/* Leaves the bench with one idle connection, which has the app's end. */
static int make_idle(struct bench *bench, int client)
{
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    bench_notes(1);
    return app;
}

static void test_retry(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    int app = make_idle(bench, client);

    (void)state;
    send_text(client, GET);
    char *request = read_request(app);
    assert_non_null(strstr(request, "sw8: attempt-1\r\n"));
    free(request);
    close(app);
    app = app_accept(bench);
    request = read_request(app);
    assert_non_null(strstr(request, "sw8: attempt-2\r\n"));
    free(request);
    send_text(app, HI);
    expect_response(client, 200, "hi");
    struct notes notes = bench_notes(2);
    assert_int_equal(notes.attempts, 2);
    assert_int_equal(notes.sent, 2);
    assert_int_equal(notes.answered, 1);
    assert_string_equal(notes.failure, "");
    assert_int_equal(bench_counter(bench, SKY_COUNT_upstream_retries), 1);
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_retry_once_only(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    int app = make_idle(bench, client);

    (void)state;
    send_text(client, GET);
    free(read_request(app));
    close(app);
    app = app_accept(bench);
    free(read_request(app));
    close(app);
    assert_int_equal(bench_expect_failure(bench, client, SKY_FAILURE_CLOSED, 2).attempts, 2);
    close(client);
    bench_stop(bench);
}

static void test_no_retry(void **state)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {POST, ""},                      /* not idempotent */
        {GET, "H"},                      /* a byte has come */
        {GET, "HTTP/1.1 103 x\r\n\r\n"}, /* a whole interim answer, even */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        struct bench *bench = bench_started(true);
        int client = client_connect(bench);
        int app = make_idle(bench, client);
        send_text(client, cases[i].request);
        free(read_request(app));
        send_text(app, cases[i].answer);
        close(app);
        if (i == 2)
            free(read_exactly(client, strlen("HTTP/1.1 103 Early Hints\r\n\r\n")));
        assert_int_equal(bench_expect_failure(bench, client, SKY_FAILURE_CLOSED, 2).attempts, 1);
        close(client);
        bench_stop(bench);
    }
}

/* A body goes by a connection that was used just now, or by a fresh one. */
static void test_stale_connection_gets_no_body(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->config.timeouts.upstream_idle_ms = 10000;
    bench_start(bench, true);
    int client = client_connect(bench);
    int app = make_idle(bench, client);
    send_text(client, POST); /* at once: by the same */
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    usleep(600000); /* that much time has to pass, it is what the test is about */
    send_text(client, POST);
    int fresh = app_accept(bench);
    free(read_request(fresh));
    send_text(fresh, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    expect_response(client, 200, "hi");
    send_text(client, GET); /* may still go by the old one */
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    close(fresh);
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_idle_limit(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->config.timeouts.upstream_idle_ms = 50;
    bench_start(bench, true);
    int client = client_connect(bench);
    int app = make_idle(bench, client);
    wait_closed(app);
    close(app);
    send_text(client, GET);
    app = app_accept(bench);
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    close(app);
    close(client);
    bench_stop(bench);
}

/* The retry is on a fresh connection, not on another kept one: that may be as dead. */
static void test_retry_is_fresh(void **state)
{
    struct bench *bench = bench_started(true);
    int clients[2], apps[2];

    (void)state;
    for (int i = 0; i < 2; ++i) {
        clients[i] = client_connect(bench);
        send_text(clients[i], GET);
        apps[i] = app_accept(bench);
        free(read_request(apps[i]));
    }
    for (int i = 0; i < 2; ++i) {
        send_text(apps[i], HI);
        expect_response(clients[i], 200, "hi");
    }
    send_text(clients[0], GET);
    free(read_request(apps[1])); /* the newest */
    close(apps[1]);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, HI);
    expect_response(clients[0], 200, "hi");
    close(app);
    for (int i = 0; i < 2; ++i)
        close(clients[i]);
    close(apps[0]);
    bench_stop(bench);
}

static void close_fd(void *arg)
{
    close(*(int *)arg);
}

/* Closed after the loop has looked and before the request goes out: the server has got no byte of
 * it, so it may go out again whatever its method. */
static void test_closed_before_a_byte(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    int app = make_idle(bench, client);

    (void)state;
    bench_on_attempt(close_fd, &app);
    send_text(client, POST);
    int fresh = app_accept(bench);
    free(read_request(fresh));
    send_text(fresh, HI);
    expect_response(client, 200, "hi");
    struct notes notes = bench_notes(2);
    assert_int_equal(notes.attempts, 2);
    assert_int_equal(notes.sent, 1);
    close(fresh);
    close(client);
    bench_stop(bench);
}

/* What the app did to a kept connection is known before a request of the same round takes it. */
static void test_same_round(void **state)
{
    static const char *const junk[] = {NULL, "x", HI};

    (void)state;
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); ++i)
        for (int unix_socket = 0; unix_socket < 2; ++unix_socket) {
            struct bench *bench = bench_started(unix_socket);
            int client = client_connect(bench);
            int app = make_idle(bench, client);
            bench_hold(bench);
            send_text(client, POST);
            if (junk[i] != NULL)
                send_text(app, junk[i]);
            else
                close(app);
            bench_resume(bench);
            int fresh = app_accept(bench);
            free(read_request(fresh));
            send_text(fresh, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown");
            expect_response(client, 200, "own");
            assert_int_equal(bench_notes(2).attempts, 1);
            if (junk[i] != NULL)
                close(app);
            close(fresh);
            close(client);
            bench_stop(bench);
        }
}

/* An answer is read, and another request taken, in one round: bytes behind the answer are seen. */
static void test_answer_and_request_in_one_round(void **state)
{
    struct bench *bench = bench_started(true);
    int clients[2] = {client_connect(bench), client_connect(bench)};
    char *body = malloc(65537);
    bool cut;

    (void)state;
    memset(body, 'b', 65536);
    body[65536] = 'X'; /* one too many */
    send_text(clients[0], GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n");
    free(read_head_response(clients[0]));
    bench_hold(bench);
    send_bytes(app, body, 65537);
    send_text(clients[1], GET);
    bench_resume(bench);
    int fresh = app_accept(bench);
    free(read_request(fresh));
    send_text(fresh, HI);
    char *response = read_response(clients[1], &cut);
    assert_string_equal(body_of(response), "hi");
    free(response);
    free(body);
    for (int i = 0; i < 2; ++i)
        close(clients[i]);
    close(fresh);
    close(app);
    bench_stop(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_retry_once_only),
        cmocka_unit_test(test_no_retry),
        cmocka_unit_test(test_retry_is_fresh),
        cmocka_unit_test(test_closed_before_a_byte),
        cmocka_unit_test(test_same_round),
        cmocka_unit_test(test_answer_and_request_in_one_round),
        cmocka_unit_test(test_stale_connection_gets_no_body),
        cmocka_unit_test(test_idle_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

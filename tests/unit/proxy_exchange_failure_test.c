/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange when something fails: the app at each step, the client at each step. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

#define GET "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
#define HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define STREAM "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

/* --- connecting --- */

static void test_nobody_listens(void **state)
{
    (void)state;
    for (int unix_socket = 0; unix_socket < 2; ++unix_socket) {
        struct bench *bench = bench_started(unix_socket);
        int client = client_connect(bench);
        close(bench->app_fd);
        bench->app_fd = -1;
        send_text(client, GET);
        struct notes notes = bench_expect_failure(bench, client, SKY_FAILURE_REFUSED, 1);
        assert_int_equal(notes.attempts, 1);
        assert_int_equal(notes.sent, 0);
        assert_int_equal(notes.stitched, 0);
        if (unix_socket) {
            unlink(bench->unix_path);
            send_text(client, GET);
            bench_expect_failure(bench, client, SKY_FAILURE_NO_SOCKET, 2);
        }
        close(client);
        bench_stop(bench);
    }
}

static void test_socket_not_permitted(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench_start(bench, true);
    if (geteuid() == 0) { /* root may everything: have a path below what is no directory */
        unlink(bench->unix_path);
        int client = client_connect(bench);
        assert_int_equal(mkdir(bench->unix_path, 0700), 0);
        send_text(client, GET);
        bench_expect_failure(bench, client, SKY_FAILURE_REFUSED, 1);
        close(client);
        rmdir(bench->unix_path);
    } else {
        int client = client_connect(bench);
        assert_int_equal(chmod(bench->unix_path, 0), 0);
        send_text(client, GET);
        bench_expect_failure(bench, client, SKY_FAILURE_DENIED, 1);
        close(client);
    }
    bench_stop(bench);
}

static void test_name_not_resolved(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->first_server = "no-such-host.invalid:80";
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, GET); /* of a name without addresses there is no server */
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    struct notes notes = bench_notes(1);
    assert_int_equal(notes.attempts, 1);
    assert_string_equal(notes.failure, "");
    close(app);
    close(client);
    bench_stop(bench);
}

static void test_next_server_takes_over(void **state)
{
    struct bench *bench = bench_new();

    (void)state;
    bench->first_server = "unix:/nonexistent/socket";
    bench_start(bench, false);
    for (int i = 1; i <= 3; ++i) {
        int client = client_connect(bench);
        send_text(client, POST);
        int app = app_accept(bench);
        char *request = read_request(app);
        assert_non_null(strstr(request, "Content-Length: 4\r\n"));
        free(request);
        send_text(app, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        expect_response(client, 200, "hi");
        struct notes notes = bench_notes(i);
        assert_string_equal(notes.address, bench->servers[1].address.text);
        close(app);
        close(client);
    }
    /* both fail: the last reason is told */
    close(bench->app_fd);
    bench->app_fd = -1;
    int client = client_connect(bench);
    send_text(client, GET);
    bool cut;
    char *response = read_response(client, &cut);
    assert_int_equal(status_of(response), 502);
    free(response);
    assert_int_equal(bench_notes(4).attempts, 2);
    close(client);
    bench_stop(bench);
}

static void test_backlog_full(void **state)
{
    struct bench *bench = bench_new();
    int fds[8];

    (void)state;
    bench->config.timeouts.connect_ms = 100;
    bench_start(bench, true);
    size_t count = app_fill_backlog(bench, fds);
    int client = client_connect(bench);
    send_text(client, GET);
    bench_expect_failure(bench, client, SKY_FAILURE_BACKLOG_FULL, 1);
    while (count != 0)
        close(fds[--count]);
    close(client);
    bench_stop(bench);
}

/* Nothing was sent yet: another server takes it. */
static void test_timeout_moves_on(void **state)
{
    struct bench *bench = bench_new();
    struct sockaddr_un full = {.sun_family = AF_UNIX};
    int fds[8], listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[128];

    (void)state;
    snprintf(full.sun_path, sizeof(full.sun_path), "/tmp/sky-exchange-full.%d.sock", (int)getpid());
    unlink(full.sun_path);
    assert_int_equal(bind(listener, (struct sockaddr *)&full, sizeof(full)), 0);
    assert_int_equal(listen(listener, 0), 0);
    for (int i = 0; i < 8; ++i) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(fds[i], (struct sockaddr *)&full, sizeof(full));
    }
    snprintf(text, sizeof(text), "unix:%s", full.sun_path);
    bench->first_server = text;
    bench->config.timeouts.connect_ms = 100;
    bench_start(bench, true);
    int client = client_connect(bench);
    send_text(client, GET);
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, HI);
    expect_response(client, 200, "hi");
    assert_int_equal(bench_notes(1).attempts, 2);
    assert_int_equal(sky_counter_read(&bench->worker.counters, SKY_COUNT_upstream_connect_moves),
                     1);
    close(app);
    for (int i = 0; i < 8; ++i)
        close(fds[i]);
    close(listener);
    unlink(full.sun_path);
    close(client);
    bench_stop(bench);
}

/* Those who wait for a full backlog are served when there is room again. */
static void test_backlog_drains(void **state)
{
    struct bench *bench = bench_new();
    int fds[8], clients[5];

    (void)state;
    bench_start(bench, true);
    size_t count = app_fill_backlog(bench, fds);
    for (int i = 0; i < 5; ++i) {
        clients[i] = client_connect(bench);
        send_text(clients[i], GET);
    }
    close(clients[2]); /* one of them does not wait */
    struct notes notes = bench_notes(1);
    assert_true(notes.outcome.client_gone);
    for (size_t i = 0; i < count; ++i) {
        close(app_accept(bench));
        close(fds[i]);
    }
    for (int i = 0; i < 4; ++i) {
        int app = app_accept(bench);
        free(read_request(app));
        send_text(app, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
        close(app);
    }
    for (int i = 0; i < 5; ++i) {
        if (i == 2)
            continue;
        expect_response(clients[i], 200, "hi");
        close(clients[i]);
    }
    bench_stop(bench);
}

/* A TCP backlog that is full drops what comes: nothing is heard of the connection. */
static void test_connect_timeout(void **state)
{
    struct bench *bench = bench_new();
    int fds[8];

    (void)state;
    bench->config.timeouts.connect_ms = 100;
    bench_start(bench, false);
    listen(bench->app_fd, 0);
    struct sockaddr_in *address = (struct sockaddr_in *)&bench->servers[0].address.sockaddr;
    for (int i = 0; i < 8; ++i) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fds[i], (struct sockaddr *)address, sizeof(*address));
    }
    int client = client_connect(bench);
    send_text(client, GET);
    bench_expect_failure(bench, client, SKY_FAILURE_CONNECT_TIMEOUT, 1);
    for (int i = 0; i < 8; ++i)
        close(fds[i]);
    close(client);
    bench_stop(bench);
}

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
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_socket_not_permitted),
        cmocka_unit_test(test_name_not_resolved),
        cmocka_unit_test(test_next_server_takes_over),
        cmocka_unit_test(test_backlog_full),
        cmocka_unit_test(test_timeout_moves_on),
        cmocka_unit_test(test_backlog_drains),
        cmocka_unit_test(test_connect_timeout),
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

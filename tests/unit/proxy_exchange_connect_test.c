/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange when no server of its upstream takes a connection, or not at once. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),    cmocka_unit_test(test_socket_not_permitted),
        cmocka_unit_test(test_name_not_resolved), cmocka_unit_test(test_next_server_takes_over),
        cmocka_unit_test(test_backlog_full),      cmocka_unit_test(test_timeout_moves_on),
        cmocka_unit_test(test_backlog_drains),    cmocka_unit_test(test_connect_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

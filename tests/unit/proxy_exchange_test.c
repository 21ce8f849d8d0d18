/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange when all goes well: what passes between client and app, and when. */
#include "proxy/exchange/exchange.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

#define BIG_BYTES (20 * 1024 * 1024)

static void expect_plain(const struct notes *notes, int status, size_t body_bytes)
{
    assert_int_equal(notes->attempts, 1);
    assert_int_equal(notes->sent, 1);
    assert_int_equal(notes->answered, 1);
    assert_int_equal(notes->stitched, 1);
    assert_int_equal(notes->ended, 1);
    assert_int_equal(notes->outcome.status, status);
    assert_int_equal(notes->outcome.body_bytes, body_bytes);
    assert_false(notes->outcome.client_gone);
    assert_false(notes->outcome.cut);
    assert_null(notes->outcome.failure);
}

static void test_get_keeps_both_connections(void **state)
{
    (void)state;
    for (int unix_socket = 0; unix_socket < 2; ++unix_socket) {
        struct bench *bench = bench_started(unix_socket);
        int client = client_connect(bench), app = -1;
        for (int i = 1; i <= 3; ++i) {
            send_text(client, "GET /a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n");
            if (app == -1)
                app = app_accept(bench);
            char *request = read_request(app);
            assert_non_null(strstr(request, "GET /a?b=c HTTP/1.1\r\nHost: shop\r\n"));
            assert_non_null(strstr(request, "\r\nX-Forwarded-For: 127.0.0.1\r\n"));
            assert_non_null(strstr(request, "\r\nsw8: attempt-1\r\n"));
            free(request);
            send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            expect_response(client, 200, "hello");
            struct notes notes = bench_notes(i);
            expect_plain(&notes, 200, 5);
            assert_int_equal(notes.stitch_count, 0);
        }
        assert_int_equal(bench_counter(bench, SKY_COUNT_upstream_connects), 1);
        close(client);
        close(app);
        bench_stop(bench);
    }
}

/* What of the answer's head reaches the client. */
static void test_answer_fields(void **state)
{
    static const char answer[] =
        "HTTP/1.1 203 Fine\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: gunicorn\r\n"
        "Set-Cookie: a=1\r\nX-Mixed-Case: Value\r\nSet-Cookie: b=2\r\nKeep-Alive: timeout=2\r\n"
        "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nSW8-Stitch: 1;first\r\nsw8-stitch: "
        "1;second\r\n"
        "sw8-stitch-data: e30=\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nhi";
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    bool cut;

    (void)state;
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, answer);
    char *response = read_response(client, &cut);
    char *date = strstr(response, "\r\nDate: ");
    assert_non_null(date);
    assert_null(strstr(date + 1, "\r\nDate: "));
    assert_null(strstr(response, "1970"));
    assert_memory_equal(response, "HTTP/1.1 203 Fine\r\n", 19);
    assert_non_null(strstr(response,
                           "\r\nServer: gunicorn\r\nSet-Cookie: a=1\r\nX-Mixed-Case: Value\r\n"
                           "Set-Cookie: b=2\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nhi"));
    free(response);
    struct notes notes = bench_notes(1);
    assert_int_equal(notes.stitch_count, 2);
    assert_string_equal(notes.stitch, "1;first");
    assert_int_equal(notes.stitch_data_count, 1);
    close(client);
    close(app);
    bench_stop(bench);
}

static void test_twelve_kilobytes_of_cookies(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    char *cookie = calloc(1, 12001);
    bool cut;

    (void)state;
    memset(cookie, 'c', 12000);
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: ");
    send_text(app, cookie);
    send_text(app, "\r\n\r\nhi");
    char *response = read_response(client, &cut);
    assert_int_equal(status_of(response), 200);
    assert_non_null(strstr(response, cookie));
    assert_string_equal(body_of(response), "hi");
    free(response);
    free(cookie);
    close(client);
    close(app);
    bench_stop(bench);
}

static void test_untraced(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "GET /untraced HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    char *request = read_request(app);
    assert_null(strstr(request, "sw8"));
    free(request);
    send_text(app, "HTTP/1.1 200 OK\r\nsw8-stitch: x\r\nContent-Length: 2\r\n\r\nhi");
    bool cut;
    char *response = read_response(client, &cut);
    assert_string_equal(body_of(response), "hi");
    assert_null(strstr(response, "stitch"));
    free(response);
    close(client);
    close(app);
    bench_stop(bench);
}

static char *make_body(size_t len)
{
    char *body = malloc(len + 1);

    for (size_t i = 0; i < len; ++i)
        body[i] = (char)('a' + (i * 31 + i / 251) % 26);
    body[len] = '\0';
    return body;
}

/* Bodies of each size reach the app whole and are followed by nothing. */
static void test_request_bodies(void **state)
{
    static const size_t sizes[] = {0, 1, 5000, 300000, 8 << 20};
    struct bench *bench = bench_started(false);
    int client = client_connect(bench);

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        char *body = make_body(sizes[i]), head[128];
        snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: %zu\r\n\r\n",
                 sizes[i]);
        send_text(client, head);
        send_bytes(client, body, sizes[i]);
        int app = app_accept(bench);
        char *request = read_request(app);
        assert_string_equal(body_of(request), body);
        free(request);
        free(body);
        send_text(app, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone");
        expect_response(client, 200, "done");
        struct notes notes = bench_notes((int)i + 1);
        expect_plain(&notes, 200, 4);
        close(app);
    }
    close(client);
    bench_stop(bench);
}

static void expect_bytes(int fd, const char *wanted)
{
    size_t len = strlen(wanted);
    char *got = calloc(1, len + 1);

    for (size_t have = 0; have < len;) {
        ssize_t more = recv(fd, got + have, len - have, 0);
        assert_true(more > 0);
        have += (size_t)more;
    }
    assert_string_equal(got, wanted);
    free(got);
}

/* The head goes out although no body follows yet, and each part before the next one is made. */
static void test_parts_go_out_at_once(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "GET /events HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n");
    char *head = read_head_response(client);
    assert_int_equal(status_of(head), 200);
    assert_string_equal(body_of(head), "");
    free(head);
    send_text(app, "6\r\ndata: \r\n");
    expect_bytes(client, "6\r\ndata: \r\n");
    send_text(app, "1\r\na\r\n1\r\nb\r\n");
    expect_bytes(client, "2\r\nab\r\n");
    send_text(app, "0\r\n\r\n");
    expect_bytes(client, "0\r\n\r\n");
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, 8);
    close(client);
    close(app);
    bench_stop(bench);
}

/* More chunks in one read than there are pieces: nothing gets lost or out of order. */
static void test_many_small_chunks(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);
    char *wanted = calloc(1, 100000), *at = wanted;

    (void)state;
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    char *answer = malloc(400000);
    char *to = stpcpy(answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 9000; ++i) {
        int len = sprintf(at, "<%d>", i);
        to += sprintf(to, "%x;e=%d\r\n%s\r\n", len, i % 7, at);
        at += len;
    }
    strcpy(to, "0\r\n\r\n");
    send_text(app, answer);
    expect_response(client, 200, wanted);
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, strlen(wanted));
    free(answer);
    free(wanted);
    close(client);
    close(app);
    bench_stop(bench);
}

/* Sends until nothing is taken for a while. Returns how much was. */
static size_t send_until_stuck(int fd, const char *bytes, size_t len)
{
    struct timeval while_ = {.tv_usec = 300000};
    size_t sent = 0;

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &while_, sizeof(while_));
    while (sent < len) {
        ssize_t more =
            send(fd, bytes + sent, len - sent < 65536 ? len - sent : 65536, MSG_NOSIGNAL);
        if (more == -1)
            break;
        sent += (size_t)more;
    }
    return sent;
}

/* A client that does not read holds the app back: the proxy takes some of the 20 MB, not all. */
static void test_slow_reader(void **state)
{
    struct bench *bench = bench_new();
    char *body = make_body(BIG_BYTES), head[128];
    int small = 65536;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    bench->config.timeouts.upstream_idle_ms = 10000;
    bench_start(bench, true);
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_connect_by(bench, client);
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG_BYTES);
    send_text(app, head);
    size_t taken = send_until_stuck(app, body, BIG_BYTES);
    assert_in_range(taken, 1, BIG_BYTES / 2); /* kernel buffers, mostly */

    pthread_t sender;
    struct sending rest = {app, body + taken, BIG_BYTES - taken};
    pthread_create(&sender, NULL, send_in_thread, &rest);
    bool cut;
    char *response = read_response(client, &cut);
    pthread_join(sender, NULL);
    assert_false(cut);
    assert_memory_equal(body_of(response), body, BIG_BYTES);
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, BIG_BYTES);
    free(response);
    free(body);
    close(client);

    /* the socket is fit for use after it was paused */
    client = client_connect(bench);
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    expect_response(client, 200, "hi");
    close(client);
    close(app);
    bench_stop(bench);
}

static void test_interim_answers(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n"
                   "sw8-stitch: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
    expect_bytes(client, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    send_text(app, "HTTP/1.1 103 Early Hints\r\nX: 2\r\n\r\nHTTP/1.1 200 OK\r\n"
                   "Content-Length: 2\r\n\r\nhi");
    expect_bytes(client, "HTTP/1.1 103 Early Hints\r\nX: 2\r\n\r\n");
    expect_response(client, 200, "hi");
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, 2);
    assert_int_equal(notes.stitch_count, 0);
    close(client);
    close(app);
    bench_stop(bench);
}

/* The app answers before it has read the body: the answer passes, the connection is given up. */
static void test_early_answer(void **state)
{
    struct bench *bench = bench_started(true);
    char *body = make_body(8 << 20);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 8388608\r\n\r\n");
    send_bytes(client, body, 8 << 20);
    int app = app_accept(bench);
    free(read_head_response(app));
    send_text(app, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    expect_response(client, 413, "big");
    wait_closed(app);
    struct notes notes = bench_notes(1);
    assert_int_equal(notes.sent, 0);
    assert_int_equal(notes.outcome.status, 413);
    assert_null(notes.outcome.failure);
    free(body);
    close(client);
    close(app);
    bench_stop(bench);
}

/* The answer is streamed while the body is still being written, as an app may do that transforms.
 */
static void test_answer_beside_the_body(void **state)
{
    struct bench *bench = bench_started(true);
    char *body = make_body(8 << 20);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 8388608\r\n\r\n");
    send_bytes(client, body, 8 << 20);
    int app = app_accept(bench);
    char *start_of_request = read_head_response(app);
    send_text(app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    char *head = read_head_response(client);
    assert_int_equal(status_of(head), 200);
    size_t have = strlen(body_of(start_of_request));
    char *rest = read_exactly(app, (8 << 20) - have);
    assert_memory_equal(rest, body + have, (8 << 20) - have);
    send_text(app, "4\r\nlast\r\n0\r\n\r\n");
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, 9);
    free(rest);
    free(head);
    free(start_of_request);
    free(body);
    close(client);
    close(app);
    bench_stop(bench);
}

static void test_http10_client(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "GET / HTTP/1.0\r\n\r\n");
    int app = app_accept(bench);
    char *request = read_request(app);
    assert_memory_equal(request, "GET / HTTP/1.1\r\nHost: localhost\r\n", 33);
    free(request);
    send_text(app, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    char *response = read_eof(client);
    assert_string_equal(body_of(response), "hi");
    assert_null(strstr(response, "chunked"));
    free(response);
    close(client);
    close(app);
    bench_stop(bench);
}

static void test_head_request(void **state)
{
    struct bench *bench = bench_started(true);
    int client = client_connect(bench);

    (void)state;
    send_text(client, "HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n");
    int app = app_accept(bench);
    free(read_request(app));
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    char *response = read_head_response(client);
    assert_non_null(strstr(response, "\r\nContent-Length: 12345\r\n"));
    assert_string_equal(body_of(response), "");
    free(response);
    struct notes notes = bench_notes(1);
    expect_plain(&notes, 200, 0);
    close(client);
    close(app);
    bench_stop(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_keeps_both_connections),
        cmocka_unit_test(test_answer_fields),
        cmocka_unit_test(test_twelve_kilobytes_of_cookies),
        cmocka_unit_test(test_untraced),
        cmocka_unit_test(test_request_bodies),
        cmocka_unit_test(test_parts_go_out_at_once),
        cmocka_unit_test(test_many_small_chunks),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_interim_answers),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_answer_beside_the_body),
        cmocka_unit_test(test_http10_client),
        cmocka_unit_test(test_head_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

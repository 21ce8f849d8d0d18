/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that an app may give: each leads to a right answer or a clean error, and never spoils the
 * next request. After each one, a second request tells: it comes on the same connection if that was
 * fit for it, else on a new one, and gets its own answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

enum after { KEEPS, CLOSES, RESETS }; /* what the app does with its connection */
enum next { SAME, FRESH };            /* where the second request comes */

struct sample {
    const char *method;
    const char *answer;
    enum after after;
    int status; /* that the client gets; 0: none at all */
    const char *body;
    enum next next;
    const char *failure; /* of the trace; "" for none */
    bool cut;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct sample samples[] = {
    /* what apps do every day */
    {"GET", OK "Content-Length: 2\r\n\r\nhi", KEEPS, 200, "hi", SAME, "", false},
    {"GET", OK "Content-Length: 0\r\n\r\n", KEEPS, 200, "", SAME, "", false},
    {"GET", OK "Content-Length: 2\r\n\r\nhi", CLOSES, 200, "hi", FRESH, "", false},
    {"GET", OK "Content-Length: 2\r\nConnection: close\r\n\r\nhi", KEEPS, 200, "hi", FRESH, "",
     false},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x=y\r\n yo\r\n0\r\n\r\n", KEEPS, 200,
     "hi yo", SAME, "", false},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\nsw8-stitch: 1\r\n\r\n", KEEPS,
     200, "", SAME, "", false},
    {"GET", OK "\r\nuntil close", CLOSES, 200, "until close", FRESH, "", false},
    {"GET", OK "\r\n", CLOSES, 200, "", FRESH, "", false},
    {"GET", "HTTP/1.0 200 OK\r\n\r\nold", CLOSES, 200, "old", FRESH, "", false},
    {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", KEEPS, 200, "old", FRESH, "", false},
    {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold", KEEPS, 200,
     "old", SAME, "", false},
    {"GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", KEEPS, 200, "hi", SAME, "", false},
    {"GET", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
     KEEPS, 404, "no", SAME, "", false},
    {"GET", "HTTP/1.1 500 x\r\nContent-Length: 2\r\n\r\nno", KEEPS, 500, "no", SAME, "", false},
    {"POST", "HTTP/1.1 201 x\r\nContent-Length: 0\r\n\r\n", KEEPS, 201, "", SAME, "", false},
    {"GET", "HTTP/1.1 204 x\r\n\r\n", KEEPS, 204, "", SAME, "", false},
    {"GET", "HTTP/1.1 304 x\r\nETag: \"a\"\r\n\r\n", KEEPS, 304, "", SAME, "", false},
    {"HEAD", OK "Content-Length: 0\r\n\r\n", KEEPS, 200, "", SAME, "", false},
    {"HEAD", OK "Content-Length: 7\r\n\r\n", KEEPS, 200, "", FRESH, "", false},
    /* a body where none may be */
    {"GET", "HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\nbody", KEEPS, 204, "", FRESH, "", false},
    {"GET", "HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\nbody", KEEPS, 304, "", FRESH, "", false},
    {"HEAD", OK "Content-Length: 4\r\n\r\nbody", KEEPS, 200, "", FRESH, "", false},
    {"HEAD", OK "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", KEEPS, 200, "", FRESH,
     "", false},
    {"GET", "HTTP/1.1 204 x\r\n\r\nbody", KEEPS, 204, "", FRESH, "", false},
    /* more than one answer */
    {"GET", OK "Content-Length: 2\r\n\r\nhi and more", KEEPS, 200, "hi", FRESH, "", false},
    {"GET", OK "Content-Length: 0\r\n\r\nx", KEEPS, 200, "", FRESH, "", false},
    {"GET", OK "Content-Length: 2\r\n\r\nhi" OK "Content-Length: 4\r\n\r\nevil", KEEPS, 200, "hi",
     FRESH, "", false},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" OK "\r\n", KEEPS, 200, "hi",
     FRESH, "", false},
    /* interim answers */
    {"GET", "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 2\r\n\r\nhi", KEEPS, 200, "hi",
     SAME, "", false},
    {"GET", "HTTP/1.1 100 Continue\r\n\r\n", CLOSES, 502, NULL, FRESH,
     "connection closed without an answer", false},
    {"GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", KEEPS, 502, NULL, FRESH,
     "unexpected protocol switch", false},
    /* no answer, or a part */
    {"GET", "", CLOSES, 502, NULL, FRESH, "connection closed without an answer", false},
    {"GET", "", RESETS, 502, NULL, FRESH, "connection closed without an answer", false},
    {"GET", "HTTP/1.1 200 O", CLOSES, 502, NULL, FRESH, "connection closed without an answer",
     false},
    {"GET", OK "Content-Length: 2\r\n", CLOSES, 502, NULL, FRESH,
     "connection closed without an answer", false},
    {"GET", OK "Content-Length: 2\r\n", RESETS, 502, NULL, FRESH,
     "connection closed without an answer", false},
    {"GET", OK "Content-Length: 9\r\n\r\npart", CLOSES, 200, "part", FRESH, "answer cut short",
     true},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", CLOSES, 200, "part", FRESH,
     "answer cut short", true},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n9\r\npart", CLOSES, 200, "part", FRESH,
     "answer cut short", true},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n", CLOSES, 200, "part", FRESH,
     "answer cut short", true},
    /* garbage */
    {"GET", "hello world, this is no HTTP\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", "SSH-2.0-OpenSSH\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", "HTTP/1.1 abc\r\n\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", KEEPS, 502, NULL, FRESH, "malformed answer",
     false},
    {"GET", OK "A b: c\r\n\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", OK "A: b\r\n c\r\nContent-Length: 0\r\n\r\n", KEEPS, 502, NULL, FRESH,
     "malformed answer", false},
    {"GET", OK "Content-Length: abc\r\n\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", OK "Content-Length: -6\r\n\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
    {"GET", OK "Content-Length: 18446744073709551616\r\n\r\n", KEEPS, 502, NULL, FRESH,
     "malformed answer", false},
    {"GET", OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", KEEPS, 502, NULL, FRESH,
     "malformed answer", false},
    {"GET", OK "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi", KEEPS, 502, NULL, FRESH,
     "malformed answer", false},
    {"GET", OK "Transfer-Encoding: gzip\r\n\r\nhi", KEEPS, 502, NULL, FRESH, "malformed answer",
     false},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0x5\r\nevil", KEEPS, 200, "hi", FRESH,
     "malformed answer", true},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhix", KEEPS, 200, "hi", FRESH,
     "malformed answer", true},
    {"GET", OK "Transfer-Encoding: chunked\r\n\r\n5_0\r\n", KEEPS, 502, NULL, FRESH,
     "malformed answer", false},
    {"GET", "HTTP/1.1 103 x\r\nbad\r\n\r\n", KEEPS, 502, NULL, FRESH, "malformed answer", false},
};

static void leave(int app, enum after after)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    if (after == KEEPS)
        return;
    if (after == RESETS)
        setsockopt(app, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(app);
}

static void send_request(int client, const char *method, const char *path)
{
    char request[128];

    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n",
             method, path);
    send_text(client, request);
}

static char *read_for(int client, const char *method, bool *cut)
{
    if (strcmp(method, "HEAD") != 0)
        return read_response(client, cut);
    *cut = false;
    return read_head_response(client);
}

static void expect_first(const struct sample *sample, char *response, bool cut, int number)
{
    struct notes notes = bench_notes(number);
    /* Head and defect in one read: the client has got nothing yet, so it gets a page. */
    bool page = sample->cut && status_of(response) == 502;

    assert_int_equal(status_of(response), page ? 502 : sample->status);
    assert_int_equal(cut, sample->cut && !page);
    if (sample->body != NULL && !page)
        assert_string_equal(body_of(response), sample->body);
    assert_null(strcasestr(response, "sw8-stitch"));
    assert_string_equal(notes.failure, sample->failure);
    assert_int_equal(notes.outcome.status, status_of(response));
    assert_int_equal(notes.outcome.cut, cut);
    assert_false(notes.outcome.client_gone);
    assert_int_equal(notes.attempts, 1);
    free(response);
}

/* The second request, from another client, and its own answer. */
static void expect_second(struct bench *bench, const struct sample *sample, int app)
{
    bool cut;
    int client = client_connect(bench);

    send_request(client, "GET", "/second");
    if (sample->next == FRESH) {
        if (sample->after == KEEPS) {
            wait_closed(app);
            close(app);
        }
        app = app_accept(bench);
    }
    char *request = read_request(app);
    assert_memory_equal(request, "GET /second ", 12);
    free(request);
    send_text(app, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecond");
    char *response = read_response(client, &cut);
    assert_int_equal(status_of(response), 200);
    assert_string_equal(body_of(response), "second");
    free(response);
    close(client);
    wait_closed(app);
    close(app);
}

static void run(struct bench *bench, const struct sample *sample, bool in_bytes, int number)
{
    bool cut;
    int client = client_connect(bench);

    send_request(client, sample->method, "/first");
    int app = app_accept(bench);
    free(read_request(app));
    if (in_bytes)
        for (const char *byte = sample->answer; *byte != '\0'; ++byte)
            (void)!send(app, byte, 1, MSG_NOSIGNAL); /* the proxy may have seen enough */
    else
        send_text(app, sample->answer);
    leave(app, sample->after);
    char *response = read_for(client, sample->method, &cut);
    expect_first(sample, response, cut, number);
    close(client);
    expect_second(bench, sample, app);
}

static void run_all(bool unix_socket, bool in_bytes)
{
    struct bench *bench = bench_started(unix_socket);
    int done = 0;

    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); ++i) {
        /* bytes that come late may find the connection in use again: no proxy can tell */
        if (in_bytes && strstr(samples[i].answer, "\r\n\r\nbody") != NULL &&
            strstr(samples[i].answer, "Content-Length") == NULL)
            continue;
        print_message("answer %zu\n", i);
        run(bench, &samples[i], in_bytes, 2 * done++ + 1);
    }
    bench_stop(bench);
}

static void test_over_tcp(void **state)
{
    (void)state;
    run_all(false, false);
}

static void test_over_unix_socket(void **state)
{
    (void)state;
    run_all(true, false);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    run_all(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_over_tcp),
        cmocka_unit_test(test_over_unix_socket),
        cmocka_unit_test(test_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

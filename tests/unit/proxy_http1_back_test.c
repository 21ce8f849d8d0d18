/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an upstream socket, with an owner that takes what comes, or does not. One thread:
 * the test is the server, by the other end of a socket pair, and turns the loop. */
#include "proxy/back/http1_back.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/upstream_fixture.h"

struct owner {
    struct sky_back back; /* first */
    struct upstream_fixture fixture;
    h2o_mem_pool_t pool;
    int server; /* the other end; -1 when closed */
    bool lazy;  /* takes nothing */
    int sent, informed, answered, progress, switched;
    int status;
    size_t taken_bytes;
    char body[1 << 20];
};

static void on_sent(struct sky_back *back)
{
    ((struct owner *)back)->sent++;
}

static void on_informed(struct sky_back *back, const struct sky_answer *answer)
{
    ((struct owner *)back)->informed++;
    assert_in_range(answer->status, 102, 199);
}

static void on_answered(struct sky_back *back, const struct sky_answer *answer)
{
    ((struct owner *)back)->answered++;
    ((struct owner *)back)->status = answer->status;
}

static void take(struct owner *owner)
{
    const struct sky_back_part *part = sky_back_take(&owner->back);
    size_t bytes = 0;

    for (size_t i = 0; i < part->count; ++i) {
        assert_in_range(owner->taken_bytes + part->pieces[i].len, 1, sizeof(owner->body) - 1);
        memcpy(owner->body + owner->taken_bytes, part->pieces[i].base, part->pieces[i].len);
        owner->taken_bytes += part->pieces[i].len;
        bytes += part->pieces[i].len;
    }
    assert_int_equal(bytes, part->bytes);
}

static void on_progress(struct sky_back *back)
{
    struct owner *owner = (struct owner *)back;

    owner->progress++;
    if (!owner->lazy)
        take(owner);
}

static bool on_switched(struct sky_back *back, const struct sky_answer *answer)
{
    ((struct owner *)back)->switched++;
    return sky_text_equal(answer->upgrade, SKY_TEXT("echo"));
}

static const struct sky_back_events events = {on_sent,     on_informed, on_answered,
                                              on_progress, on_switched, NULL};

static struct owner *set_up(uint32_t response_ms)
{
    struct owner *owner = calloc(1, sizeof(*owner));

    upstream_fixture_init(&owner->fixture, "unix:/app", response_ms);
    h2o_mem_init_pool(&owner->pool);
    owner->server = -1;
    return owner;
}

static void begin(struct owner *owner, const char *head, h2o_iovec_t body)
{
    struct sky_upstream_conn *conn = upstream_fixture_pair(&owner->fixture, &owner->server);

    sky_back_start(&owner->back, &events, conn, &owner->pool, sky_text_of(head), body, false);
}

static void close_server(struct owner *owner)
{
    close(owner->server);
    owner->server = -1;
}

static void settle(struct owner *owner)
{
    upstream_fixture_settle(&owner->fixture);
}

static void serve(struct owner *owner, const char *bytes)
{
    assert_int_equal(send(owner->server, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
    settle(owner);
}

static void tear_down(struct owner *owner)
{
    sky_back_fini(&owner->back);
    h2o_mem_clear_pool(&owner->pool);
    if (owner->server != -1)
        close(owner->server);
    upstream_fixture_fini(&owner->fixture);
    free(owner);
}

static size_t idle_count(const struct owner *owner)
{
    return owner->fixture.server->idle_count;
}

#define NO_BODY h2o_iovec_init(NULL, 0)

/* ---- a body in parts ---- */

static int wrote;

static void on_wrote(struct sky_back *back)
{
    (void)back;
    wrote++;
}

static const struct sky_back_events in_parts = {on_sent,     on_informed, on_answered,
                                                on_progress, on_switched, on_wrote};

static void begin_in_parts(struct owner *owner)
{
    struct sky_upstream_conn *conn = upstream_fixture_pair(&owner->fixture, &owner->server);

    wrote = 0;
    sky_back_start(&owner->back, &in_parts, conn, &owner->pool, SKY_TEXT("HEAD"), NO_BODY, false);
}

static void expect_at_server(struct owner *owner, const char *text)
{
    char got[64] = {0};

    assert_int_equal(recv(owner->server, got, sizeof(got) - 1, MSG_DONTWAIT), strlen(text));
    assert_string_equal(got, text);
}

static void test_body_in_parts(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin_in_parts(owner);
    assert_int_equal(owner->sent, 0);
    assert_true(sky_back_takes_body(&owner->back));
    sky_back_write(&owner->back, h2o_iovec_init("one", 3), false);
    assert_false(sky_back_takes_body(&owner->back));
    settle(owner);
    assert_int_equal(wrote, 1);
    assert_int_equal(owner->sent, 0);
    sky_back_write(&owner->back, h2o_iovec_init("two", 3), true);
    settle(owner);
    assert_int_equal(wrote, 1);
    assert_int_equal(owner->sent, 1);
    assert_false(sky_back_takes_body(&owner->back));
    expect_at_server(owner, "HEADonetwo");
    serve(owner, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(owner->back.state, SKY_BACK_WHOLE);
    assert_int_equal(idle_count(owner), 1);
    tear_down(owner);
}

/* The rest of the body would be taken for the next request's. */
static void test_answer_before_the_last_part(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin_in_parts(owner);
    sky_back_write(&owner->back, h2o_iovec_init("one", 3), false);
    settle(owner);
    serve(owner, "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(owner->back.state, SKY_BACK_WHOLE);
    assert_int_equal(owner->status, 413);
    assert_int_equal(idle_count(owner), 0);
    assert_false(sky_back_takes_body(&owner->back));
    tear_down(owner);
}

static void test_server_closes_between_parts(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin_in_parts(owner);
    sky_back_write(&owner->back, h2o_iovec_init("one", 3), false);
    settle(owner);
    close_server(owner);
    settle(owner);
    assert_int_equal(owner->back.state, SKY_BACK_FAILED);
    assert_int_equal(owner->back.failure, SKY_FAILURE_CLOSED);
    assert_false(sky_back_takes_body(&owner->back));
    tear_down(owner);
}

/* What the client needs for the next part is not the app's time. */
static void test_clock_stands_between_parts(void **state)
{
    struct owner *owner = set_up(20);

    (void)state;
    begin_in_parts(owner);
    sky_back_hold_clock(&owner->back);
    for (int i = 0; i < 3; i++) {
        usleep(15000);
        settle(owner);
    }
    assert_int_equal(owner->back.state, SKY_BACK_HEAD);
    sky_back_write(&owner->back, h2o_iovec_init("one", 3), true);
    for (int i = 0; i < 100 && owner->back.state == SKY_BACK_HEAD; i++) {
        usleep(5000);
        settle(owner);
    }
    assert_int_equal(owner->back.failure, SKY_FAILURE_RESPONSE_TIMEOUT);
    tear_down(owner);
}

static void test_whole_answer(void **state)
{
    struct owner *owner = set_up(10000);
    char request[64] = {0};

    (void)state;
    begin(owner, "HEAD", h2o_iovec_init("BODY", 4));
    assert_int_equal(owner->sent, 1); /* before the loop has turned */
    assert_int_equal(recv(owner->server, request, sizeof(request), 0), 8);
    assert_string_equal(request, "HEADBODY");
    serve(owner, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_int_equal(owner->back.state, SKY_BACK_WHOLE);
    assert_int_equal(owner->answered, 1);
    assert_int_equal(owner->progress, 1);
    assert_string_equal(owner->body, "hi");
    assert_int_equal(idle_count(owner), 1);
    /* what comes unasked closes it */
    serve(owner, "x");
    assert_int_equal(idle_count(owner), 0);
    tear_down(owner);
}

/* The server has closed, and the loop has not been told yet. */
static void test_nothing_was_written(void **state)
{
    struct owner *owner = set_up(10000);
    struct sky_upstream_conn *conn = upstream_fixture_pair(&owner->fixture, &owner->server);

    (void)state;
    close_server(owner);
    sky_back_start(&owner->back, &events, conn, &owner->pool, SKY_TEXT("x"), NO_BODY, false);
    assert_int_equal(owner->sent, 0);
    settle(owner);
    assert_int_equal(owner->back.state, SKY_BACK_FAILED);
    assert_int_equal(owner->back.failure, SKY_FAILURE_CLOSED);
    assert_true(owner->back.unwritten);
    assert_true(owner->back.unanswered);
    tear_down(owner);
}

static void test_closed_after_the_request(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin(owner, "x", NO_BODY);
    settle(owner);
    close_server(owner);
    settle(owner);
    assert_int_equal(owner->back.failure, SKY_FAILURE_CLOSED);
    assert_false(owner->back.unwritten);
    assert_true(owner->back.unanswered);
    tear_down(owner);
}

static void test_interim_answers_are_bounded(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin(owner, "x", NO_BODY);
    serve(owner, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(owner->informed, 0);
    for (int i = 1; i < 32; ++i)
        serve(owner, "HTTP/1.1 103 x\r\nLink: a\r\n\r\n");
    assert_int_equal(owner->informed, 31);
    assert_int_equal(owner->back.state, SKY_BACK_HEAD);
    serve(owner, "HTTP/1.1 103 x\r\n\r\n");
    assert_int_equal(owner->back.failure, SKY_FAILURE_MALFORMED);
    assert_string_equal(owner->back.defect, "too many interim answers");
    tear_down(owner);
}

/* An owner that takes nothing holds the server back; nothing is lost or turned round by it, and the
 * clock stands. */
static void test_lazy_owner(void **state)
{
    struct owner *owner = set_up(50);
    char *stream = calloc(1, 900000), *wanted = calloc(1, 900000), *to = stream, *at = wanted;
    size_t sent = 0, len;

    (void)state;
    for (int i = 0; at - wanted < 400000; ++i) {
        int digits = sprintf(at, "<%d>", i);
        to += sprintf(to, "%x\r\n%s\r\n", digits, at);
        at += digits;
    }
    len = (size_t)(stpcpy(to, "0\r\n\r\n") - stream);
    owner->lazy = true;
    begin(owner, "x", NO_BODY);
    /* pieces of the head's buffer and of the body's come together */
    serve(owner, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n1\r\n(\r\n"
                 "1\r\n(\r\n");
    for (int i = 0; i < 100; ++i) {
        ssize_t more = send(owner->server, stream + sent, len - sent, MSG_NOSIGNAL);
        sent += more > 0 ? (size_t)more : 0;
        settle(owner);
    }
    assert_in_range(owner->back.filling.bytes, 1, 65536 + 9);
    assert_in_range(sent, 1, len - 1);
    assert_true(owner->back.paused);
    for (int i = 0; i < 20; ++i)
        h2o_evloop_run(owner->fixture.ctx.loop, 10); /* longer than the clock has */
    assert_int_equal(owner->back.state, SKY_BACK_BODY);

    owner->lazy = false;
    take(owner);
    while (owner->back.state == SKY_BACK_BODY) {
        ssize_t more = send(owner->server, stream + sent, len - sent, MSG_NOSIGNAL);
        sent += more > 0 ? (size_t)more : 0;
        h2o_evloop_run(owner->fixture.ctx.loop, 10);
    }
    assert_int_equal(owner->back.state, SKY_BACK_WHOLE);
    assert_int_equal(owner->taken_bytes, 9 + (size_t)(at - wanted));
    assert_memory_equal(owner->body, "(((((((((", 9);
    assert_string_equal(owner->body + 9, wanted);
    assert_int_equal(idle_count(owner), 1);
    free(stream);
    free(wanted);
    tear_down(owner);
}

/* A body that fills the room for it to the last byte: what lies behind it has to be seen, or the
 * connection would go to the pool with it. */
static void test_body_of_exactly_a_buffer(void **state)
{
    (void)state;
    for (size_t size = 65536 - 2; size <= 65536 + 2; ++size)
        for (int extra = 0; extra < 2; ++extra) {
            struct owner *owner = set_up(10000);
            char head[64], *body = malloc(size + 1);
            memset(body, 'b', size + 1);
            snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
            begin(owner, "x", NO_BODY);
            serve(owner, head);
            assert_int_equal(send(owner->server, body, size + (size_t)extra, MSG_NOSIGNAL),
                             size + (size_t)extra);
            while (owner->back.state == SKY_BACK_BODY)
                h2o_evloop_run(owner->fixture.ctx.loop, 10);
            assert_int_equal(owner->back.state, SKY_BACK_WHOLE);
            assert_int_equal(owner->taken_bytes, size);
            /* at once: before the loop could report the byte */
            assert_int_equal(idle_count(owner), 1 - extra);
            free(body);
            tear_down(owner);
        }
}

static void test_clock(void **state)
{
    struct owner *owner = set_up(20);

    (void)state;
    begin(owner, "x", NO_BODY);
    while (owner->progress == 0)
        h2o_evloop_run(owner->fixture.ctx.loop, 10);
    assert_int_equal(owner->back.failure, SKY_FAILURE_RESPONSE_TIMEOUT);
    assert_null(owner->back.conn);
    tear_down(owner);
}

/* A head and a body that the kernel does not take at once. The head is the caller's again. */
static void test_long_request(void **state)
{
    struct owner *owner = set_up(10000);
    char *head = malloc(1 << 20);
    h2o_iovec_t body = h2o_iovec_init(malloc(3 << 20), 3 << 20);
    size_t got = 0;
    char bytes[65536];

    (void)state;
    memset(head, 'h', 1 << 20);
    head[(1 << 20) - 1] = '\0';
    memset(body.base, 'b', body.len);
    begin(owner, head, body);
    memset(head, 'x', (1 << 20) - 1);
    while (owner->sent == 0 || got < (1 << 20) - 1 + body.len) {
        ssize_t more = recv(owner->server, bytes, sizeof(bytes), 0);
        for (ssize_t i = 0; i < more; ++i, ++got)
            assert_int_equal(bytes[i], got < (1 << 20) - 1 ? 'h' : 'b');
        h2o_evloop_run(owner->fixture.ctx.loop, 0);
    }
    assert_int_equal(owner->sent, 1);
    serve(owner, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(idle_count(owner), 1);
    free(head);
    free(body.base);
    tear_down(owner);
}

static void test_switch(void **state)
{
    struct owner *owner = set_up(10000);
    struct sky_text early;

    (void)state;
    begin(owner, "x", NO_BODY);
    serve(owner, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: echo\r\n\r\nearly");
    assert_int_equal(owner->switched, 1);
    assert_int_equal(owner->progress, 1);
    assert_int_equal(owner->back.state, SKY_BACK_SWITCHED);
    struct sky_upstream_conn *conn = sky_back_detach(&owner->back, &early);
    assert_true(sky_text_equal(early, SKY_TEXT("early")));
    sky_upstream_close(conn);
    tear_down(owner);
}

static void test_switch_that_nobody_asked_for(void **state)
{
    struct owner *owner = set_up(10000);

    (void)state;
    begin(owner, "x", NO_BODY);
    serve(owner, "HTTP/1.1 101 x\r\nUpgrade: other\r\n\r\n");
    assert_int_equal(owner->back.state, SKY_BACK_FAILED);
    assert_int_equal(owner->back.failure, SKY_FAILURE_SWITCHED);
    tear_down(owner);
}

/* The owner ends it at each step: nothing is called any more, nothing leaks. */
static void test_cancel(void **state)
{
    static const char *const steps[] = {"", "HTTP/1.1 200 OK\r\n", "Content-Length: 9\r\n\r\n",
                                        "part", "final"};

    (void)state;
    for (size_t last = 0; last < sizeof(steps) / sizeof(steps[0]); ++last) {
        struct owner *owner = set_up(10000);
        char byte;
        begin(owner, "x", NO_BODY);
        for (size_t i = 0; i <= last; ++i)
            serve(owner, steps[i]);
        int progress = owner->progress;
        sky_back_cancel(&owner->back);
        settle(owner);
        assert_int_equal(owner->progress, progress);
        assert_int_equal(recv(owner->server, &byte, 1, 0), 1); /* the request */
        if (last < 4)
            assert_int_equal(recv(owner->server, &byte, 1, 0), 0);
        tear_down(owner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_in_parts),
        cmocka_unit_test(test_answer_before_the_last_part),
        cmocka_unit_test(test_server_closes_between_parts),
        cmocka_unit_test(test_clock_stands_between_parts),
        cmocka_unit_test(test_whole_answer),
        cmocka_unit_test(test_nothing_was_written),
        cmocka_unit_test(test_closed_after_the_request),
        cmocka_unit_test(test_interim_answers_are_bounded),
        cmocka_unit_test(test_lazy_owner),
        cmocka_unit_test(test_body_of_exactly_a_buffer),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_long_request),
        cmocka_unit_test(test_switch),
        cmocka_unit_test(test_switch_that_nobody_asked_for),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

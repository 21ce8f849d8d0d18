/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of a server's connections, and dialling. */
#include "proxy/back/upstream.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/back/dial.h"
#include "tests/unit/upstream_fixture.h"

static void test_newest_first(void **state)
{
    struct upstream_fixture fixture;
    struct sky_upstream_conn *conns[3];
    int fds[3];

    (void)state;
    upstream_fixture_init(&fixture, "unix:/app", 1000);
    for (int i = 0; i < 3; ++i) {
        conns[i] = upstream_fixture_pair(&fixture, &fds[i]);
        assert_false(conns[i]->reused);
    }
    for (int i = 0; i < 3; ++i)
        sky_upstream_give_back(conns[i]);
    for (int i = 2; i >= 0; --i) {
        assert_ptr_equal(sky_upstream_take(fixture.server, UINT64_MAX), conns[i]);
        assert_true(conns[i]->reused);
    }
    assert_null(sky_upstream_take(fixture.server, UINT64_MAX));
    for (int i = 0; i < 3; ++i) {
        sky_upstream_close(conns[i]);
        close(fds[i]);
    }
    upstream_fixture_fini(&fixture);
}

static void test_idle_for_too_long(void **state)
{
    struct upstream_fixture fixture;
    int fd;

    (void)state;
    upstream_fixture_init(&fixture, "unix:/app", 1000);
    struct sky_upstream_conn *conn = upstream_fixture_pair(&fixture, &fd);
    sky_upstream_give_back(conn);
    assert_null(sky_upstream_take(fixture.server, 0));
    conn->idle_since_ms -= 500;
    assert_null(sky_upstream_take(fixture.server, 500));
    assert_ptr_equal(sky_upstream_take(fixture.server, 501), conn);
    sky_upstream_close(conn);
    close(fd);
    upstream_fixture_fini(&fixture);
}

static void test_idle_cap(void **state)
{
    struct upstream_fixture fixture;
    static int fds[SKY_UPSTREAM_MAX_IDLE + 1];
    char byte;

    (void)state;
    upstream_fixture_init(&fixture, "unix:/app", 1000);
    for (int i = 0; i <= SKY_UPSTREAM_MAX_IDLE; ++i)
        sky_upstream_give_back(upstream_fixture_pair(&fixture, &fds[i]));
    assert_int_equal(fixture.server->idle_count, SKY_UPSTREAM_MAX_IDLE);
    assert_int_equal(recv(fds[SKY_UPSTREAM_MAX_IDLE], &byte, 1, 0), 0); /* closed */
    assert_int_equal(recv(fds[0], &byte, 1, 0), -1);
    for (int i = 0; i <= SKY_UPSTREAM_MAX_IDLE; ++i)
        close(fds[i]);
    upstream_fixture_settle(&fixture);
    assert_int_equal(fixture.server->idle_count, 0);
    upstream_fixture_fini(&fixture);
}

/* --- dialling --- */

struct call {
    struct sky_dial dial; /* first */
    int done;
    struct sky_upstream_conn *conn;
    enum sky_failure failure;
};

static void on_done(struct sky_dial *dial, struct sky_upstream_conn *conn, enum sky_failure failure)
{
    struct call *call = (struct call *)dial;

    call->done++;
    call->conn = conn;
    call->failure = failure;
}

static void finish(struct upstream_fixture *fixture, struct call *calls, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        while (calls[i].done == 0)
            h2o_evloop_run(fixture->ctx.loop, 10);
    for (size_t i = 0; i < count; ++i)
        assert_int_equal(calls[i].done, 1);
}

/* A listener on loopback of one family; the port is chosen by the system. -1: no such family. */
static int listen_on(int family, uint16_t *port)
{
    struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
    struct sockaddr_in *in = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
    socklen_t len = family == AF_INET ? sizeof(*in) : sizeof(*in6);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (family == AF_INET)
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        in6->sin6_addr = in6addr_loopback;
    if (fd == -1 || bind(fd, (struct sockaddr *)&address, len) != 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(family == AF_INET ? in->sin_port : in6->sin6_port);
    return fd;
}

/* localhost is both families, whatever the app listens on; and so is no host at all. */
static void test_localhost(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};
    static const char *const names[] = {"localhost", "", "LocalHost"};

    (void)state;
    for (size_t i = 0; i < 2; ++i)
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); ++k) {
            struct upstream_fixture fixture;
            struct call calls[2] = {0};
            char text[32];
            uint16_t port;
            int fd = listen_on(families[i], &port);
            if (fd == -1)
                continue; /* a machine without IPv6 */
            sprintf(text, "%s:%u", names[k], port);
            upstream_fixture_init(&fixture, text, 1000);
            for (int n = 0; n < 2; ++n) {
                sky_dial_start(&calls[n].dial, fixture.server, on_done);
                finish(&fixture, &calls[n], 1);
                assert_non_null(calls[n].conn);
                sky_upstream_close(calls[n].conn);
            }
            /* the second dial begins with what worked */
            assert_int_equal(fixture.server->addresses[fixture.server->first].sockaddr.ss_family,
                             families[i]);
            close(fd);
            upstream_fixture_fini(&fixture);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_first),
        cmocka_unit_test(test_idle_for_too_long),
        cmocka_unit_test(test_idle_cap),
        cmocka_unit_test(test_localhost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

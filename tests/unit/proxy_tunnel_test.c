/* SPDX-License-Identifier: Apache-2.0 */
/* A tunnel between two socket pairs: the test is the client and the app, by their other ends, and
 * turns the loop. */
#include "proxy/exchange/tunnel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK 4096

struct bench {
    h2o_loop_t *loop;
    struct sky_counters counters;
    struct sky_tunnels all;
    struct sky_tunnel tunnel;
    h2o_socket_t *client_sock, *app_sock;
    int client, app; /* the other ends */
    int ended;
};

static void on_end(struct sky_tunnel *tunnel)
{
    ((struct bench *)tunnel->owner)->ended++;
}

static h2o_socket_t *make_end(struct bench *bench, int *other)
{
    int fds[2], bytes = BLOCK;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2; ++i)
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    *other = fds[1];
    return h2o_evloop_socket_create(bench->loop, fds[0], H2O_SOCKET_FLAG_DONT_READ);
}

static struct bench *prepare(uint32_t idle_ms)
{
    struct bench *bench = calloc(1, sizeof(*bench));

    bench->loop = h2o_evloop_create();
    sky_tunnels_init(&bench->all, bench->loop, idle_ms, &bench->counters);
    bench->client_sock = make_end(bench, &bench->client);
    bench->app_sock = make_end(bench, &bench->app);
    sky_tunnel_init(&bench->tunnel, &bench->all, on_end, bench);
    sky_tunnel_attach(&bench->tunnel.client, bench->client_sock, &sky_tunnel_plain,
                      bench->client_sock);
    sky_tunnel_attach(&bench->tunnel.app, bench->app_sock, &sky_tunnel_plain, bench->app_sock);
    return bench;
}

static struct bench *begin(uint32_t idle_ms)
{
    struct bench *bench = prepare(idle_ms);

    sky_tunnel_start(&bench->tunnel);
    assert_int_equal(bench->all.open, 1);
    return bench;
}

static void turn(struct bench *bench)
{
    for (int i = 0; i < 20; ++i)
        h2o_evloop_run(bench->loop, 0);
}

static void finish(struct bench *bench, enum sky_counter cause)
{
    sky_tunnel_fini(&bench->tunnel);
    assert_int_equal(bench->all.open, 0);
    assert_int_equal(sky_counter_read(&bench->counters, SKY_COUNT_tunnels), 1);
    assert_int_equal(sky_counter_read(&bench->counters, cause), 1);
    h2o_socket_close(bench->client_sock);
    h2o_socket_close(bench->app_sock);
    turn(bench);
    sky_tunnels_fini(&bench->all);
    h2o_evloop_destroy(bench->loop);
    close(bench->client);
    close(bench->app);
    free(bench);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hears(int fd, const char *text)
{
    char got[256] = "";

    assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), strlen(text));
    assert_string_equal(got, text);
}

static void hears_end(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void hears_nothing(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

static void bytes_go_both_ways(void **state)
{
    struct bench *bench = begin(60000);

    (void)state;
    say(bench->client, "question");
    turn(bench);
    hears(bench->app, "question");
    say(bench->app, "answer");
    turn(bench);
    hears(bench->client, "answer");
    assert_int_equal(bench->tunnel.client.bytes, 8);
    assert_int_equal(bench->tunnel.app.bytes, 6);
    assert_int_equal(sky_counter_read(&bench->counters, SKY_COUNT_tunnel_bytes_in), 8);
    assert_int_equal(sky_counter_read(&bench->counters, SKY_COUNT_tunnel_bytes_out), 6);
    assert_null(bench->tunnel.client.held);
    assert_int_equal(bench->ended, 0);
    finish(bench, SKY_COUNT_tunnels_stopped);
}

static void what_came_early_goes_first(void **state)
{
    struct bench *bench = prepare(60000);

    (void)state;
    say(bench->client, "d");
    sky_tunnel_answer(&bench->tunnel, SKY_TEXT("HTTP/1.1 101 x\r\n\r\n"));
    sky_tunnel_received(&bench->tunnel.client, SKY_TEXT("abc"));
    sky_tunnel_received(&bench->tunnel.app, SKY_TEXT("123"));
    sky_tunnel_start(&bench->tunnel);
    turn(bench);
    hears(bench->app, "abcd");
    hears(bench->client, "HTTP/1.1 101 x\r\n\r\n123");
    assert_int_equal(bench->tunnel.client.bytes, 4);
    assert_int_equal(bench->tunnel.app.bytes, 3);
    finish(bench, SKY_COUNT_tunnels_stopped);
}

/* Sends a pattern until nothing more is taken; returns how far it has come. */
static size_t stuff(struct bench *bench, int fd, size_t at)
{
    int refused = 0;

    while (refused < 3) {
        char block[BLOCK];
        for (size_t i = 0; i < sizeof(block); ++i)
            block[i] = (char)((at + i) % 251);
        ssize_t sent = send(fd, block, sizeof(block), MSG_NOSIGNAL);
        refused = sent == -1 ? refused + 1 : 0;
        at += sent > 0 ? (size_t)sent : 0;
        turn(bench);
        assert_in_range(at, 0, 64 << 20); /* or it is not bounded */
    }
    return at;
}

static size_t drain(struct bench *bench, int fd, size_t at)
{
    char block[BLOCK];

    for (ssize_t got; (got = recv(fd, block, sizeof(block), 0)) > 0; turn(bench))
        for (ssize_t i = 0; i < got; ++i, ++at)
            if (block[i] != (char)(at % 251))
                fail_msg("byte %zu is wrong", at);
    return at;
}

static void check_back_pressure(bool from_client)
{
    struct bench *bench = begin(60000);
    struct sky_tunnel_end *end = from_client ? &bench->tunnel.client : &bench->tunnel.app;
    int from = from_client ? bench->client : bench->app;
    int to = from_client ? bench->app : bench->client;

    size_t sent = stuff(bench, from, 0);
    assert_in_range(end->rest.len, 1, 65536);
    assert_false(h2o_socket_is_reading(end->sock));
    say(to, "the other way is open");
    turn(bench);
    hears(from, "the other way is open");
    size_t got = drain(bench, to, 0);
    assert_int_equal(got, sent);
    assert_true(h2o_socket_is_reading(end->sock));
    assert_null(end->held);
    sent = stuff(bench, from, sent);
    shutdown(from, SHUT_WR);
    assert_int_equal(drain(bench, to, got), sent);
    hears_end(to);
    assert_int_equal(bench->ended, 0);
    finish(bench, from_client ? SKY_COUNT_tunnels_client : SKY_COUNT_tunnels_app);
}

static void an_app_that_takes_nothing_stops_its_client(void **state)
{
    (void)state;
    check_back_pressure(true);
}

static void a_client_that_takes_nothing_stops_its_app(void **state)
{
    (void)state;
    check_back_pressure(false);
}

static void a_half_is_closed_alone(void **state)
{
    struct bench *bench = begin(60000);

    (void)state;
    say(bench->client, "last");
    shutdown(bench->client, SHUT_WR);
    turn(bench);
    hears(bench->app, "last");
    hears_end(bench->app);
    say(bench->app, "still here");
    turn(bench);
    hears(bench->client, "still here");
    hears_nothing(bench->client);
    assert_int_equal(bench->ended, 0);
    close(bench->app);
    turn(bench);
    hears_end(bench->client);
    assert_int_equal(bench->ended, 1);
    bench->app = dup(bench->client); /* for the close in finish */
    finish(bench, SKY_COUNT_tunnels_client);
}

static void a_lost_app_ends_the_client(void **state)
{
    struct bench *bench = begin(60000);

    (void)state;
    stuff(bench, bench->client, 0);
    close(bench->app); /* with bytes unread: a reset */
    turn(bench);
    char block[BLOCK];
    while (recv(bench->client, block, sizeof(block), 0) > 0)
        ;
    assert_int_equal(bench->ended, 1);
    bench->app = dup(bench->client);
    finish(bench, SKY_COUNT_tunnels_app);
}

static void wait_for_end(struct bench *bench)
{
    for (int i = 0; i < 2000 && bench->ended == 0; ++i)
        h2o_evloop_run(bench->loop, 10);
    assert_int_equal(bench->ended, 1);
}

static void silence_ends_it(void **state)
{
    struct bench *bench = begin(50);

    (void)state;
    wait_for_end(bench);
    finish(bench, SKY_COUNT_tunnels_idle);
}

static void a_client_that_stays_after_its_app_is_dropped(void **state)
{
    struct bench *bench = begin(50);

    (void)state;
    shutdown(bench->app, SHUT_WR);
    wait_for_end(bench);
    hears_end(bench->client);
    finish(bench, SKY_COUNT_tunnels_app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(what_came_early_goes_first),
        cmocka_unit_test(an_app_that_takes_nothing_stops_its_client),
        cmocka_unit_test(a_client_that_takes_nothing_stops_its_app),
        cmocka_unit_test(a_half_is_closed_alone),
        cmocka_unit_test(a_lost_app_ends_the_client),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(a_client_that_stays_after_its_app_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

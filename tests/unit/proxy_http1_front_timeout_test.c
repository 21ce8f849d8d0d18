/* SPDX-License-Identifier: Apache-2.0 */
/* The front's timers: idle, head, body, write. The one under test is 20 ms, the others too long to
 * be met. */
#include "front_fixture.h"

static int short_idle(void **state)
{
    return fixture_set_up(state, 20, LONG_MS, LONG_MS, LONG_MS);
}

static int short_head(void **state)
{
    return fixture_set_up(state, LONG_MS, 20, LONG_MS, LONG_MS);
}

static int short_body(void **state)
{
    return fixture_set_up(state, LONG_MS, LONG_MS, 20, LONG_MS);
}

static int short_write(void **state)
{
    return fixture_set_up(state, LONG_MS, LONG_MS, LONG_MS, 20);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    struct client silent = client_open(), served = client_open();

    say(&served, GET("/"));
    hear(&served, HELLO);
    hear_end(&served);
    hear_end(&silent);
    client_close(&served);
    client_close(&silent);
}

static void test_head_timeout(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET / HTTP/1.1\r\nHost: a\r\n");
    hear(&client, "HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n"
                  "Content-Length: 43\r\nConnection: close\r\n\r\n"
                  "The request's head did not arrive in time.\n");
    hear_end(&client);
    assert_int_equal(fixture->calls, 0);
    assert_int_equal(counted(SKY_COUNT_refused_head_timeout), 1);
    client_close(&client);
}

/* A trickle does not help: the time is for the whole head. */
static void test_head_trickle(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET / HTTP/1.1\r\nX: ");
    until((say(&client, "x"), counted(SKY_COUNT_refused_head_timeout) == 1));
    client_close(&client);
}

static void test_body_timeout(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    hear(&client, REFUSED("408"));
    hear_end(&client);
    assert_int_equal(fixture->refusal, 408);
    assert_false(fixture->entity_len);
    assert_int_equal(counted(SKY_COUNT_refused_body_timeout), 1);
    client_close(&client);
}

/* Here a trickle helps: the time starts anew with each byte. */
static void test_body_trickle(void **state)
{
    (void)state;
    struct client client = client_open();
    struct timespec begin, now;

    say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        say(&client, "x");
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 100);
    assert_int_equal(counted(SKY_COUNT_refused_body_timeout), 0);
    assert_int_equal(only_conn()->state, SKY_CONN_BODY);
    client_close(&client);
}

static void test_write_timeout(void **state)
{
    (void)state;
    struct client client = client_dial();

    fixture->body_size = 50000000;
    say(&client, GET("/big"));
    until(counted(SKY_COUNT_cut_write_timeout) == 1);
    assert_true(none_left());
    assert_int_equal(fixture->broken, 1);
    client_close(&client);
}

/* A client that takes some bytes within each period is slow, not dead. */
static void test_write_trickle(void **state)
{
    (void)state;
    struct client client = client_dial();
    char bytes[200000];
    struct timespec begin, now;

    fixture->body_size = 50000000;
    say(&client, GET("/big"));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        ssize_t got = recv(client.fd, bytes, sizeof bytes, 0);
        assert_true(got > 0 || errno == EAGAIN);
        turn();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 100);
    assert_int_equal(counted(SKY_COUNT_cut_write_timeout), 0);
    client_close(&client);
    until(none_left());
}

#define TEST(set_up, name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(short_idle, test_idle_timeout),   TEST(short_head, test_head_timeout),
        TEST(short_head, test_head_trickle),   TEST(short_body, test_body_timeout),
        TEST(short_body, test_body_trickle),   TEST(short_write, test_write_timeout),
        TEST(short_write, test_write_trickle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

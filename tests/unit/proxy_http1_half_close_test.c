/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that shut their sending side behind their requests. */
#include "front_fixture.h"

static void answer_waiting(void)
{
    h2o_req_t *req = fixture->waiting;
    h2o_iovec_t late = h2o_iovec_init(H2O_STRLIT("late"));

    fixture->waiting = NULL;
    h2o_send(req, &late, 1, H2O_SEND_STATE_FINAL);
}

/* As printf | nc does. The interim answer tells whether the client is still there. */
static void test_half_close_while_a_request_runs(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    shutdown(client.fd, SHUT_WR);
    hear(&client, "HTTP/1.1 100 Continue\r\n\r\n");
    for (int i = 0; i < 3; i++)
        turn();
    answer_waiting();
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
    hear_end(&client);
    until(none_left());
    assert_int_equal(fixture->stops, 0);
    assert_int_equal(counted(SKY_COUNT_client_gone), 0);
    client_close(&client);
}

/* HTTP/1.0 knows no interim answers: the client must not get one. */
static void test_half_close_in_http_1_0(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, "GET /wait HTTP/1.0\r\n\r\n");
    until(fixture->waiting != NULL);
    shutdown(client.fd, SHUT_WR);
    until(only_conn()->half_closed);
    answer_waiting();
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
    hear_end(&client);
    client_close(&client);
}

static void test_a_reset_after_a_half_close(void **state)
{
    (void)state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct client client = client_dial();

    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    shutdown(client.fd, SHUT_WR);
    until(only_conn()->half_closed);
    setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    client_close(&client);
    until(fixture->waiting == NULL);
    assert_int_equal(fixture->stops, 1);
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
    until(none_left());
}

/* It reads the first interim answer and leaves then: another one meets it. */
static void test_who_leaves_after_the_interim_answer(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    shutdown(client.fd, SHUT_WR);
    hear(&client, "HTTP/1.1 100 Continue\r\n\r\n");
    client_close(&client);
    until(fixture->waiting == NULL);
    assert_int_equal(fixture->stops, 1);
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
    until(none_left());
}

/* All that came before the end is answered, and what is no whole request is dropped. */
static void test_requests_before_a_half_close(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, GET("/wait") GET("/wait") "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                                           "\r\nabGET / HT");
    shutdown(client.fd, SHUT_WR);
    until(fixture->waiting != NULL && only_conn()->half_closed);
    answer_waiting();
    until(fixture->waiting != NULL);
    answer_waiting();
    until(fixture->waiting != NULL);
    assert_memory_equal(fixture->waiting->entity.base, "ab", 2);
    answer_waiting();
    hear(&client, "HTTP/1.1 100 Continue\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_client_gone), 0);
    client_close(&client);
}

static void test_the_last_of_several_before_a_half_close(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, GET("/wait") GET("/wait"));
    shutdown(client.fd, SHUT_WR);
    until(fixture->waiting != NULL && only_conn()->half_closed);
    answer_waiting();
    until(fixture->waiting != NULL);
    answer_waiting();
    hear(&client, "HTTP/1.1 100 Continue\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
                  "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
    hear_end(&client);
    client_close(&client);
}

/* Who leaves while the second runs is seen as well. */
static void test_a_reset_behind_a_half_close(void **state)
{
    (void)state;
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct client client = client_dial();

    say(&client, GET("/wait") GET("/wait"));
    shutdown(client.fd, SHUT_WR);
    until(fixture->waiting != NULL && only_conn()->half_closed);
    answer_waiting();
    until(fixture->waiting != NULL);
    setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    client_close(&client);
    until(none_left());
    assert_int_equal(fixture->stops, 1);
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
}

/* A body that was cut by it never comes. */
static void test_a_body_cut_by_a_half_close(void **state)
{
    static const char *const bodies[] = {"Content-Length: 3\r\n\r\nab", "Content-Length: 3\r\n\r\n",
                                         "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"};
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        struct client client = client_dial();
        say(&client, GET("/wait") "POST / HTTP/1.1\r\nHost: a\r\n");
        say(&client, bodies[i]);
        shutdown(client.fd, SHUT_WR);
        until(fixture->waiting != NULL && only_conn()->half_closed);
        answer_waiting();
        hear(&client, "HTTP/1.1 100 Continue\r\n\r\n"
                      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        hear_end(&client);
        until(none_left());
        assert_int_equal(counted(SKY_COUNT_client_gone), i + 1);
        client_close(&client);
    }
}

/* The answer was complete when the client shut its side: it gets it. */
static void test_half_close_after_the_answer_is_made(void **state)
{
    (void)state;
    struct client client = client_dial();

    fixture->body_size = 9000000;
    say(&client, GET("/big"));
    until(h2o_socket_is_writing(only_conn()->sock));
    shutdown(client.fd, SHUT_WR);
    until(only_conn()->half_closed);
    until((listen_once(&client), client.ended));
    assert_false(client.reset);
    assert_in_range(client.len, fixture->body_size, fixture->body_size + 200);
    until(none_left());
    assert_int_equal(fixture->whole, 1);
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_patient, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_half_close_while_a_request_runs),
        TEST(test_half_close_in_http_1_0),
        TEST(test_a_reset_after_a_half_close),
        TEST(test_who_leaves_after_the_interim_answer),
        TEST(test_requests_before_a_half_close),
        TEST(test_the_last_of_several_before_a_half_close),
        TEST(test_a_reset_behind_a_half_close),
        TEST(test_a_body_cut_by_a_half_close),
        TEST(test_half_close_after_the_answer_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

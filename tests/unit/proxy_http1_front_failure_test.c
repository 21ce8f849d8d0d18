/* SPDX-License-Identifier: Apache-2.0 */
/* The front when something goes wrong: refusals, timeouts, clients that leave, answers that break,
 * and the end of the server. */
#include <poll.h>

#include "front_fixture.h"

#define HELLO                                                         \
    "HTTP/1.1 200 Reason\r\nX-Test: yes\r\nContent-Length: 5\r\n\r\n" \
    "hello"
#define REFUSED(status)                                                                           \
    "HTTP/1.1 " status " Reason\r\nX-Test: yes\r\nContent-Length: 7\r\nConnection: close\r\n\r\n" \
    "refused"

static uint64_t counted(enum sky_counter counter)
{
    return sky_counter_read(&fixture->counters, counter);
}

static struct sky_conn *only_conn(void)
{
    assert_int_equal(sky_front_connection_count(fixture->front), 1);
    return H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, fixture->front->conns.next);
}

static bool none_left(void)
{
    return sky_front_connection_count(fixture->front) == 0;
}

/* ---- refused heads ---- */

struct refused {
    const char *request, *status, *text;
    enum sky_counter counter;
};

static const struct refused refused[] = {
    {"GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request", "A line ends in LF without CR.\n",
     SKY_COUNT_refused_bare_lf},
    {"\x16\x03\x01", "400 Bad Request", "This is no HTTP/1 request.\n", SKY_COUNT_refused_not_http},
    {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request", "The Host field is missing.\n",
     SKY_COUNT_refused_host_missing},
    {"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417 Expectation Failed",
     "Only the expectation 100-continue is known here.\n", SKY_COUNT_refused_expectation},
    {"GET / HTTP/3.0\r\n\r\n", "505 HTTP Version Not Supported",
     "Only HTTP/1.0 and HTTP/1.1 are spoken here.\n", SKY_COUNT_refused_version},
};

static void test_refused_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char answer[512];
        struct client client = client_dial();
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 refused[i].status, strlen(refused[i].text), refused[i].text);
        say(&client, refused[i].request);
        hear(&client, answer);
        hear_end(&client);
        assert_false(client.reset);
        assert_int_equal(counted(refused[i].counter), 1);
        client_close(&client);
        until(none_left());
    }
    assert_int_equal(fixture->calls, 0);
    assert_int_equal(counted(SKY_COUNT_responses_4xx), 4);
    assert_int_equal(counted(SKY_COUNT_responses_5xx), 1);
}

static void test_connect_names_what_is_served(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&client, "HTTP/1.1 405 Method Not Allowed\r\n"
                  "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n"
                  "content-type: text/plain; charset=utf-8\r\nContent-Length: 28\r\n"
                  "Connection: close\r\n\r\nCONNECT is not served here.\n");
    hear_end(&client);
    client_close(&client);
}

/* Sound requests before the broken one are answered; what follows it is dropped. */
static void test_refused_among_others(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, GET("/") "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" GET("/"));
    hear(&client, HELLO);
    hear(&client, "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
                  "Content-Length: 35\r\nConnection: close\r\n\r\n"
                  "There is more than one Host field.\n");
    hear_end(&client);
    assert_int_equal(fixture->calls, 1);
    client_close(&client);
}

/* ---- refused bodies ---- */

static void test_body_too_large(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n"
                 "Expect: 100-continue\r\n\r\n");
    hear(&client, REFUSED("413"));
    hear_end(&client);
    assert_int_equal(fixture->refusal, 413);
    assert_int_equal(counted(SKY_COUNT_refused_body_size), 1);
    client_close(&client);

    client = client_open();
    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "100001\r\n");
    static char zeros[1048577];
    say_bytes(&client, zeros, sizeof zeros);
    hear(&client, REFUSED("413"));
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_refused_body_size), 2);
    client_close(&client);
}

/* A client that writes all of its body before it looks for an answer gets the answer: no reset may
 * overtake it. */
static void test_refused_upload_sees_the_answer(void **state)
{
    (void)state;
    struct client client = client_dial();
    static char zeros[1 << 20];

    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20971520\r\n\r\n");
    for (int i = 0; i < 20; i++)
        say_bytes(&client, zeros, sizeof zeros);
    hear(&client, REFUSED("413"));
    hear_end(&client);
    assert_false(client.reset);
    client_close(&client);
    until(none_left());
}

static void test_bad_chunk(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n0x3\r\n");
    hear(&client, REFUSED("400"));
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_refused_chunk), 1);
    client_close(&client);
}

static ssize_t disk_full(int fd, const void *bytes, size_t size)
{
    (void)fd, (void)bytes, (void)size;
    errno = ENOSPC;
    return -1;
}

static void send_large_body(struct client *client)
{
    static char zeros[60000];

    say(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    say_bytes(client, zeros, sizeof zeros);
}

static void test_body_without_room(void **state)
{
    (void)state;
    struct client client = client_open();

    fixture->front->body.write = disk_full;
    send_large_body(&client);
    hear(&client, REFUSED("507"));
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_refused_body_disk_full), 1);
    client_close(&client);

    client = client_open();
    fixture->front->body.directory = "/nonexistent";
    send_large_body(&client);
    hear(&client, REFUSED("503"));
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_refused_body_unbuffered), 1);
    client_close(&client);
}

/* ---- timeouts ---- */

static int set_up_with(void **state, uint32_t idle_ms, uint32_t head_ms, uint32_t body_ms,
                       uint32_t write_ms)
{
    struct fixture *f = calloc(1, sizeof *f);

    fixture_init(f);
    f->config.timeouts.idle_ms = idle_ms;
    f->config.timeouts.header_ms = head_ms;
    f->config.timeouts.body_ms = body_ms;
    f->config.timeouts.write_ms = write_ms;
    fixture_start(f);
    *state = f;
    return 0;
}

static int short_idle(void **state)
{
    return set_up_with(state, 20, 60000, 60000, 60000);
}

static int short_head(void **state)
{
    return set_up_with(state, 60000, 20, 60000, 60000);
}

static int short_body(void **state)
{
    return set_up_with(state, 60000, 60000, 20, 60000);
}

static int short_write(void **state)
{
    return set_up_with(state, 60000, 60000, 60000, 20);
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

/* ---- clients that leave ---- */

static void test_client_leaves_while_a_request_runs(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        struct client client = client_dial();
        say(&client, GET("/wait"));
        until(fixture->waiting != NULL);
        if (half)
            shutdown(client.fd, SHUT_WR);
        else
            client_close(&client);
        until(fixture->waiting == NULL);
        assert_int_equal(fixture->stops, half + 1);
        assert_int_equal(fixture->broken, half + 1);
        assert_int_equal(counted(SKY_COUNT_client_gone), half + 1);
        until(none_left());
        client_close(&client);
    }
}

static void test_client_leaves_in_a_body(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    until(only_conn()->state == SKY_CONN_BODY);
    client_close(&client);
    until(none_left());
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
    assert_int_equal(fixture->calls, 0);
}

static void test_client_leaves_in_a_head(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET / HT");
    until(only_conn()->state == SKY_CONN_HEAD);
    client_close(&client);
    until(none_left());
}

static void test_client_leaves_in_an_answer(void **state)
{
    (void)state;
    struct client client = client_dial();

    fixture->body_size = 50000000;
    say(&client, GET("/big"));
    until(h2o_socket_is_writing(only_conn()->sock));
    client_close(&client);
    until(none_left());
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
    assert_int_equal(fixture->broken, 1);
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

/* ---- answers that break ---- */

static void test_generator_fails(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, GET("/error"));
    hear(&client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\none\r\n6\r\ntwotwo\r\n5\r\nthree\r\n");
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_cut_generator), 1);
    assert_int_equal(fixture->broken, 1);
    client_close(&client);

    /* here only a reset tells the end of the connection from the end of the body */
    client = client_dial();
    say(&client, "GET /error HTTP/1.0\r\n\r\n");
    until((listen_once(&client), client.ended));
    assert_true(client.reset);
    client_close(&client);
}

static void test_wrong_length(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, GET("/short"));
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nonetwotwothree");
    hear_end(&client);
    client_close(&client);

    client = client_open();
    say(&client, GET("/long"));
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nonetwotwo");
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_cut_length), 2);
    assert_int_equal(fixture->broken, 2);
    client_close(&client);
}

/* ---- the end of the server ---- */

#define LAST_HELLO \
    "HTTP/1.1 200 Reason\r\nX-Test: yes\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

static void test_drain(void **state)
{
    (void)state;
    struct client idle = client_open(), running = client_open(), begun = client_open();
    h2o_iovec_t body = {H2O_STRLIT("late")};

    say(&idle, GET("/"));
    hear(&idle, HELLO);
    say(&running, GET("/wait"));
    until(fixture->waiting != NULL);
    say(&begun, "GET / HTTP/1.1\r\n");
    sky_front_drain(fixture->front);
    hear_end(&idle);
    assert_int_equal(sky_front_connection_count(fixture->front), 2);
    h2o_send(fixture->waiting, &body, 1, H2O_SEND_STATE_FINAL);
    hear(&running, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
    hear_end(&running);
    say(&begun, "Host: a\r\n\r\n");
    hear(&begun, LAST_HELLO);
    hear_end(&begun);
    client_close(&idle);
    client_close(&running);
    client_close(&begun);
    until(none_left());
}

/* What was on its way when the drain began is answered; and nobody who lingers holds up the stop.
 */
static void test_drain_and_late_requests(void **state)
{
    (void)state;
    struct client late = client_open(), lingering = client_open();

    say(&lingering, "nonsense\n");
    until((listen_once(&lingering), lingering.ended));
    sky_front_drain(fixture->front);
    say(&late, GET("/"));
    hear(&late, LAST_HELLO);
    hear_end(&late);
    assert_true(h2o_linklist_is_empty(&fixture->front->linger_timeout._entries));
    until(none_left());
    client_close(&late);
    client_close(&lingering);
}

static void test_close_all(void **state)
{
    (void)state;
    struct client running = client_open(), idle = client_open();

    say(&running, GET("/wait"));
    until(fixture->waiting != NULL);
    sky_front_close_all(fixture->front);
    assert_int_equal(fixture->stops, 1);
    assert_true(none_left());
    hear_end(&running);
    hear_end(&idle);
    client_close(&running);
    client_close(&idle);
}

/* A lingering client is dropped when it says nothing more, and is not read from for ever. */
static void test_linger_has_an_end(void **state)
{
    (void)state;
    struct client client = client_dial();

    say(&client, "nonsense\n");
    until(only_conn()->state == SKY_CONN_LINGER);
    assert_true(h2o_timeout_is_linked(&only_conn()->timer));
    say(&client, "more");
    assert_int_equal(only_conn()->state, SKY_CONN_LINGER);
    only_conn()->linger_until_ms = 0;
    say(&client, "more");
    until(none_left());
    client_close(&client);
}

static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000, 60000, 60000);
}

static int tear_down(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_WITH(set_up, name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_heads),
        TEST(test_connect_names_what_is_served),
        TEST(test_refused_among_others),
        TEST(test_body_too_large),
        TEST(test_refused_upload_sees_the_answer),
        TEST(test_bad_chunk),
        TEST(test_body_without_room),
        TEST_WITH(short_idle, test_idle_timeout),
        TEST_WITH(short_head, test_head_timeout),
        TEST_WITH(short_head, test_head_trickle),
        TEST_WITH(short_body, test_body_timeout),
        TEST_WITH(short_body, test_body_trickle),
        TEST_WITH(short_write, test_write_timeout),
        TEST_WITH(short_write, test_write_trickle),
        TEST(test_client_leaves_while_a_request_runs),
        TEST(test_client_leaves_in_a_body),
        TEST(test_client_leaves_in_a_head),
        TEST(test_client_leaves_in_an_answer),
        TEST(test_half_close_after_the_answer_is_made),
        TEST(test_generator_fails),
        TEST(test_wrong_length),
        TEST(test_drain),
        TEST(test_drain_and_late_requests),
        TEST(test_close_all),
        TEST(test_linger_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

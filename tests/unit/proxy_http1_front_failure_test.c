/* SPDX-License-Identifier: Apache-2.0 */
/* The front when something goes wrong: refusals, clients that leave, answers that break,
 * and the end of the server. */
#include "front_fixture.h"

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

/* By the size that a chunk announces, before anything of it has come. */
static void test_chunk_too_large(void **state)
{
    static const char *const chunks[] = {"ffffffffffffffff\r\n", "100001\r\n",
                                         "1\r\na\r\n100000\r\n"};
    (void)state;

    for (unsigned i = 0; i < 3; i++) {
        struct client client = client_open();
        say(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        say(&client, chunks[i]);
        hear(&client, REFUSED("413"));
        hear_end(&client);
        assert_int_equal(counted(SKY_COUNT_refused_body_size), i + 1);
        client_close(&client);
    }

    struct client client = client_open();
    static char zeros[1 << 20];
    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n");
    say_bytes(&client, zeros, sizeof zeros);
    say(&client, "\r\n0\r\n\r\n");
    hear(&client, HELLO);
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

/* ---- clients that leave ---- */

static void test_client_leaves_while_a_request_runs(void **state)
{
    (void)state;
    for (unsigned unix_socket = 0; unix_socket < 2; unix_socket++) {
        struct client client = unix_socket ? client_open() : client_dial();
        say(&client, GET("/wait"));
        until(fixture->waiting != NULL);
        client_close(&client);
        until(fixture->waiting == NULL);
        assert_int_equal(fixture->stops, unix_socket + 1);
        assert_int_equal(fixture->broken, unix_socket + 1);
        assert_int_equal(counted(SKY_COUNT_client_gone), unix_socket + 1);
        until(none_left());
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

/* Reading is paused, so the client's going away is met only when the answer is written. */
static void test_client_leaves_unseen(void **state)
{
    (void)state;
    struct client client = client_dial();
    static char filler[SKY_CONN_READ_AHEAD];

    memset(filler, 'x', sizeof filler);
    fixture->body_size = 50000000;
    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    say_bytes(&client, filler, sizeof filler);
    until(only_conn()->reading_paused);
    client_close(&client);
    turn();
    assert_non_null(fixture->waiting);
    h2o_iovec_t body = {h2o_mem_alloc_pool(&fixture->waiting->pool, fixture->body_size),
                        fixture->body_size};
    memset(body.base, 'x', body.len);
    h2o_send(fixture->waiting, &body, 1, H2O_SEND_STATE_FINAL);
    until(none_left());
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
    assert_int_equal(fixture->broken, 1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_patient, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_heads),
        TEST(test_connect_names_what_is_served),
        TEST(test_refused_among_others),
        TEST(test_body_too_large),
        TEST(test_chunk_too_large),
        TEST(test_refused_upload_sees_the_answer),
        TEST(test_bad_chunk),
        TEST(test_body_without_room),
        TEST(test_client_leaves_while_a_request_runs),
        TEST(test_client_leaves_in_a_body),
        TEST(test_client_leaves_in_a_head),
        TEST(test_client_leaves_in_an_answer),
        TEST(test_client_leaves_unseen),
        TEST(test_generator_fails),
        TEST(test_wrong_length),
        TEST(test_drain),
        TEST(test_drain_and_late_requests),
        TEST(test_close_all),
        TEST(test_linger_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The front as a well-meaning client meets it: requests in, answers out, over a real loop. */
#include "front_fixture.h"

#define CHUNKS "3\r\none\r\n6\r\ntwotwo\r\n5\r\nthree\r\n0\r\n\r\n"

/* ---- requests ---- */

static void test_keep_alive(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, GET("/"));
    hear(&client, HELLO);
    say(&client, GET("/a?b=c"));
    hear(&client, HELLO);
    assert_string_equal(fixture->method, "GET");
    assert_string_equal(fixture->path, "/a?b=c");
    assert_string_equal(fixture->authority, "shop.test");
    assert_false(fixture->has_entity);
    assert_int_equal(sky_front_connection_count(fixture->front), 1);
    client_close(&client);
    until(sky_front_connection_count(fixture->front) == 0);
    assert_int_equal(fixture->whole, 2);
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_responses_2xx), 2);
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_requests), 2);
}

static void test_fields(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET /x HTTP/1.1\r\nhOST: shop.test:80\r\nX-Odd-NAME:  a b \t\r\nAccept: */*\r\n"
                 "X_Under_Score: 1\r\nContent_Length: 7\r\nUpgrade: h2c\r\nX-Empty:\r\n"
                 "Cookie: a=1\r\nCookie: b=2\r\nConnection: Upgrade, X-Odd-Name\r\n\r\n");
    hear(&client, HELLO);
    assert_string_equal(fixture->authority, "shop.test:80");
    assert_string_equal(fixture->fields,
                        "x-odd-name|X-Odd-NAME: a b\naccept|Accept: */*\nx-empty|X-Empty: \n"
                        "cookie|Cookie: a=1\ncookie|Cookie: b=2\n"
                        "connection|Connection: Upgrade, X-Odd-Name\n");
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_fields_underscore), 2);
    client_close(&client);
}

static void test_absolute_form(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET http://other.test/p?q HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    hear(&client, HELLO);
    assert_string_equal(fixture->authority, "other.test");
    assert_string_equal(fixture->path, "/p?q");
    say(&client, "GET http://other.test?q HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    hear(&client, HELLO);
    assert_string_equal(fixture->path, "/?q");
    say(&client, "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n");
    hear(&client, HELLO);
    assert_string_equal(fixture->path, "*");
    assert_string_equal(fixture->authority, "");
    client_close(&client);
}

/* The clock is read when the first byte comes, not when the head is whole. */
static void test_received_at(void **state)
{
    (void)state;
    struct client client = client_open();
    struct timespec before, between;

    clock_gettime(CLOCK_REALTIME, &before);
    say(&client, "G");
    until(sky_front_connection_count(fixture->front) == 1);
    turn();
    clock_gettime(CLOCK_REALTIME, &between);
    say(&client, "ET / HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&client, HELLO);
    assert_true(fixture->received_us >= before.tv_sec * 1000000 + before.tv_nsec / 1000);
    assert_true(fixture->received_us <= between.tv_sec * 1000000 + between.tv_nsec / 1000);
    client_close(&client);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct client client = client_open();
    const char *request = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n" GET("/");

    for (const char *byte = request; *byte != '\0'; byte++)
        say_bytes(&client, byte, 1);
    hear(&client, ANSWER("200", "5", "abcde") HELLO);
    client_close(&client);
}

static void test_pipelined(void **state)
{
    (void)state;
    struct client client = client_open();

    for (int i = 0; i < 10; i++)
        say(&client, GET("/") GET("/stream"));
    for (int i = 0; i < 10; i++)
        hear(&client, HELLO "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKS);
    client_close(&client);
}

/* All twenty in one read, the first of them answered late: order holds, nothing is lost. */
static void test_pipelined_behind_a_slow_one(void **state)
{
    (void)state;
    struct client client = client_open();
    char requests[4096] = GET("/wait");
    h2o_iovec_t body = {H2O_STRLIT("late")};

    for (int i = 0; i < 19; i++)
        strcat(requests, GET("/"));
    say(&client, requests);
    until(fixture->waiting != NULL);
    h2o_send(fixture->waiting, &body, 1, H2O_SEND_STATE_FINAL);
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    for (int i = 0; i < 19; i++)
        hear(&client, HELLO);
    client_close(&client);
}

/* RFC 9112, 2.2: old clients send one after a body. */
static void test_empty_line_first(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "\r\n" GET("/") "\r\n" GET("/"));
    hear(&client, HELLO HELLO);
    client_close(&client);
}

/* What is read ahead of a request that runs is bounded, and served later all the same. */
static void test_read_ahead_is_bounded(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    struct client client = client_dial();
    h2o_iovec_t body = {H2O_STRLIT("late")};
    static char requests[COUNT * sizeof GET("/")], answers[COUNT * sizeof HELLO + 100];
    char *end = requests;

    for (int i = 0; i < COUNT; i++)
        end = stpcpy(end, GET("/"));
    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    struct sky_conn *conn = sky_conn_of(fixture->waiting);
    say_bytes(&client, requests, (size_t)(end - requests));
    until(conn->reading_paused);
    assert_int_equal(conn->sock->input->size, SKY_CONN_READ_AHEAD);
    h2o_send(fixture->waiting, &body, 1, H2O_SEND_STATE_FINAL);
    end = stpcpy(answers, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    for (int i = 0; i < COUNT; i++)
        end = stpcpy(end, HELLO);
    hear(&client, answers);
    assert_int_equal(fixture->calls, COUNT + 1);
    client_close(&client);
}

static void answer_waiting(void)
{
    h2o_iovec_t body = {H2O_STRLIT("late")};
    h2o_req_t *waiting = fixture->waiting;

    fixture->waiting = NULL;
    h2o_send(waiting, &body, 1, H2O_SEND_STATE_FINAL);
}

/* Requests in a row: `len` bytes, the last of them may be a part of one. */
static char *put_requests(char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        *at++ = GET("/")[i % (sizeof GET("/") - 1)];
    return at;
}

static void hear_hellos(struct client *client, size_t count)
{
    hear(client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    for (size_t i = 0; i < count; i++)
        hear(client, HELLO);
}

/* A part of a head is left in a buffer that has grown, and the next read brings the rest with
 * `behind` bytes: as much as may be read ahead, or more. What comes then has to wait, and is no end
 * of what the client sends. */
static void check_read_ahead_full_at_once(size_t behind)
{
    enum { ONE = sizeof GET("/") - 1, AHEAD = 62000, PART = AHEAD % ONE };
    static char bytes[2 * SKY_CONN_READ_AHEAD];
    struct client client = client_dial();

    say(&client, GET("/wait"));
    until(fixture->waiting != NULL);
    char *end = put_requests(bytes, AHEAD - PART);
    memcpy(end, GET("/wait"), PART);
    say_bytes(&client, bytes, AHEAD - 100);
    until(only_conn()->sock->input->size == AHEAD - 100);
    say_bytes(&client, bytes + AHEAD - 100, 100); /* needs a larger buffer */
    until(only_conn()->sock->input->size == AHEAD);
    answer_waiting();
    hear_hellos(&client, AHEAD / ONE);

    end = put_requests(stpcpy(bytes, GET("/wait") + PART), behind);
    say_bytes(&client, bytes, (size_t)(end - bytes));
    until(fixture->waiting != NULL);
    assert_int_equal(only_conn()->sock->input->size, behind);
    put_requests(bytes, behind + ONE - behind % ONE);
    say_bytes(&client, bytes + behind, ONE - behind % ONE);
    until(only_conn()->reading_paused);
    assert_int_equal(only_conn()->sock->input->size, behind);
    answer_waiting();
    hear_hellos(&client, behind / ONE + 1);
    client_close(&client);
}

static void test_read_ahead_is_full_at_once(void **state)
{
    (void)state;
    check_read_ahead_full_at_once(SKY_CONN_READ_AHEAD);
    check_read_ahead_full_at_once(SKY_CONN_READ_AHEAD + 1000);
}

/* ---- bodies ---- */

static void test_sized_body(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde" GET("/"));
    hear(&client, ANSWER("200", "5", "abcde") HELLO);
    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    hear(&client, HELLO);
    assert_true(fixture->has_entity);
    assert_int_equal(fixture->entity_len, 0);
    client_close(&client);
}

/* Beyond buffer.memory: in a file, mapped. */
static void test_body_in_file(void **state)
{
    (void)state;
    struct client client = client_open();
    static char body[60000];

    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)('a' + i % 23);
    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
    say_bytes(&client, body, sizeof body);
    hear(&client, HELLO);
    assert_int_equal(fixture->entity_len, sizeof body);
    assert_memory_equal(fixture->entity, body, sizeof body);
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_body_files), 1);
    say(&client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < sizeof body; i += 1000) {
        say(&client, "3e8\r\n");
        say_bytes(&client, body + i, 1000);
        say(&client, "\r\n");
    }
    say(&client, "0\r\n\r\n");
    hear(&client, HELLO);
    assert_int_equal(fixture->entity_len, sizeof body);
    assert_memory_equal(fixture->entity, body, sizeof body);
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_body_files), 2);
    client_close(&client);
}

static void test_expect(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                 "Expect: 100-Continue\r\n\r\n");
    hear(&client, "HTTP/1.1 100 Continue\r\n\r\n");
    say(&client, "ab");
    hear(&client, ANSWER("200", "2", "ab"));
    /* no use in asking for what has come; and HTTP/1.0 knows no 100 */
    say(&client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
                 "Expect: 100-continue\r\n\r\nab");
    hear(&client, ANSWER("200", "2", "ab"));
    say(&client, "POST /echo HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    turn();
    say(&client, "ab");
    hear(&client, LAST_ANSWER("200", "2", "ab"));
    hear_end(&client);
    client_close(&client);
}

/* ---- answers ---- */

static void test_stream(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, GET("/stream"));
    hear(&client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKS);
    say(&client, GET("/stream404"));
    hear(&client, "HTTP/1.1 404 OK\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKS);
    say(&client, GET("/stream-end"));
    hear(&client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3\r\none\r\n0\r\n\r\n");
    say(&client, GET("/sized"));
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nonetwotwothree");
    assert_int_equal(fixture->proceeds, 14);
    assert_int_equal(fixture->stops, 0);
    client_close(&client);
}

static void test_http10(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear(&client, "HTTP/1.1 200 Reason\r\nX-Test: yes\r\nContent-Length: 5\r\n"
                  "Connection: keep-alive\r\n\r\nhello");
    say(&client, "GET / HTTP/1.0\r\n\r\n");
    hear(&client, LAST_ANSWER("200", "5", "hello"));
    hear_end(&client);
    client_close(&client);

    client = client_open();
    say(&client, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    hear(&client, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonetwotwothree");
    hear_end(&client);
    client_close(&client);
}

static void test_close(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n" GET("/never"));
    hear(&client, LAST_ANSWER("200", "5", "hello"));
    hear_end(&client);
    assert_int_equal(fixture->calls, 1);
    client_close(&client);
}

static void test_bodiless(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&client, ANSWER("200", "5", ""));
    say(&client, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&client, "HTTP/1.1 200 OK\r\n\r\n");
    say(&client, "HEAD /short HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&client, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n");
    say(&client, GET("/204"));
    hear(&client, "HTTP/1.1 204 Reason\r\nX-Test: yes\r\n\r\n");
    say(&client, GET("/304"));
    hear(&client, "HTTP/1.1 304 Reason\r\nX-Test: yes\r\n\r\n");
    say(&client, GET("/empty"));
    hear(&client, ANSWER("200", "0", ""));
    client_close(&client);
}

static void test_inform(void **state)
{
    (void)state;
    struct client client = client_open();

    say(&client, GET("/inform"));
    hear(&client, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" ANSWER("200", "8", "informed"));
    say(&client, "GET /inform HTTP/1.0\r\n\r\n");
    hear(&client, LAST_ANSWER("200", "8", "informed"));
    hear_end(&client);
    client_close(&client);
}

/* ---- large answers ---- */

/* The client reads little at a time: the answer waits in pieces, and comes whole. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct client client = client_dial();
    static char heard[8020000];
    size_t len = 0;

    fixture->body_size = 8000000;
    say(&client, GET("/big"));
    until(h2o_socket_is_writing(
        H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, fixture->front->conns.next)->sock));
    say(&client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    for (ssize_t got; (got = recv(client.fd, heard + len, 10000, 0)) != 0;) {
        assert_true(got > 0 || errno == EAGAIN);
        if (got > 0)
            len += (size_t)got;
        else
            turn();
        assert_true(len < sizeof heard - 10000);
    }
    const char *body = strstr(heard, "\r\n\r\n") + 4;
    for (size_t i = 0; i < fixture->body_size; i++)
        if (body[i] != (char)('a' + i % 23))
            fail_msg("wrong byte at %zu", i);
    assert_memory_equal(body + fixture->body_size, "HTTP/1.1 200 Reason\r\n", 21);
    assert_int_equal(fixture->whole, 2);
    client_close(&client);
}

/* A generator that always has more, and a kernel that takes it, leave other connections their turn.
 */
static void test_endless_answer_leaves_room(void **state)
{
    (void)state;
    struct client client = client_dial();

    fixture->body_size = (size_t)1 << 30;
    say(&client, GET("/ticks"));
    until(fixture->calls == 1);
    assert_in_range(fixture->proceeds, 2, 40); /* of 16 KiB each */
    for (unsigned before; before = fixture->proceeds, turn(), fixture->proceeds != before;)
        assert_in_range(fixture->proceeds - before, 1, 40);
    client_close(&client);
    until(fixture->stops == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_patient, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
        TEST(test_fields),
        TEST(test_absolute_form),
        TEST(test_received_at),
        TEST(test_byte_by_byte),
        TEST(test_pipelined),
        TEST(test_pipelined_behind_a_slow_one),
        TEST(test_empty_line_first),
        TEST(test_read_ahead_is_bounded),
        TEST(test_read_ahead_is_full_at_once),
        TEST(test_sized_body),
        TEST(test_body_in_file),
        TEST(test_expect),
        TEST(test_stream),
        TEST(test_http10),
        TEST(test_close),
        TEST(test_bodiless),
        TEST(test_inform),
        TEST(test_slow_reader),
        TEST(test_endless_answer_leaves_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

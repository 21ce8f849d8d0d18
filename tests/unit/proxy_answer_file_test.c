/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that the kernel sends from a file: whole, behind and before others, slow clients, clients
 * that leave, files that end early. */
#include "front_fixture.h"

#include <linux/tcp.h>
#include <signal.h>
#include <sys/mman.h>

#include "proxy/front/answer_file.h"

#define FILE_BYTES 24000000
#define SKIPPED_BYTES 5

static int file;
static size_t asked; /* bytes of it, from SKIPPED_BYTES on, that are the answer */

/* ---- the handler: what the kernel does not send is not sent ---- */

struct answer {
    h2o_generator_t super;
    struct sky_answer_file part;
};

static void on_proceed(h2o_generator_t *super, h2o_req_t *req)
{
    const struct answer *answer = H2O_STRUCT_FROM_MEMBER(struct answer, super, super);

    fixture->proceeds++;
    h2o_send(req, NULL, 0, answer->part.left == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_ERROR);
}

static void on_stop(h2o_generator_t *super, h2o_req_t *req)
{
    (void)super, (void)req;
    fixture->stops++;
}

static void send_file(h2o_req_t *req)
{
    struct answer *answer = h2o_mem_alloc_pool(&req->pool, sizeof *answer);

    *answer =
        (struct answer){{on_proceed, on_stop}, {.fd = file, .at = SKIPPED_BYTES, .left = asked}};
    req->res.status = 200;
    req->res.content_length = asked;
    h2o_start_response(req, &answer->super);
    assert_true(sky_front_send_file(req, &answer->part));
}

/* ---- the file ---- */

static char byte_at(size_t at)
{
    return (char)('a' + at % 23);
}

static void make_file(void)
{
    char *bytes = malloc(FILE_BYTES);

    for (size_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = byte_at(i);
    file = memfd_create("answer", MFD_CLOEXEC);
    assert_int_equal(write(file, bytes, FILE_BYTES), FILE_BYTES);
    free(bytes);
}

static int set_up_with(void **state, uint32_t write_ms)
{
    signal(SIGPIPE, SIG_IGN); /* as the proxy does */
    fixture_set_up(state, LONG_MS, LONG_MS, LONG_MS, write_ms);
    fixture->answer = send_file;
    make_file();
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, LONG_MS);
}

static int set_up_short_write(void **state)
{
    return set_up_with(state, 20);
}

static int tear_down(void **state)
{
    close(file);
    return fixture_tear_down(state);
}

/* ---- what a client hears ---- */

/* Hears that many bytes of the file, from `at` on, behind what was heard already. */
static void hear_file(struct client *client, size_t at, size_t len)
{
    char bytes[65536];

    for (unsigned stuck = 0; len != 0;) {
        ssize_t got = recv(client->fd, bytes, len < sizeof bytes ? len : sizeof bytes, 0);
        assert_true(got > 0 || (got == -1 && errno == EAGAIN));
        for (ssize_t i = 0; i < got; i++)
            if (bytes[i] != byte_at(at + (size_t)i))
                fail_msg("wrong byte at %zu", at + (size_t)i);
        if (got > 0) {
            at += (size_t)got;
            len -= (size_t)got;
            stuck = 0;
        } else if (++stuck > 2000) {
            fail_msg("%zu bytes are missing", len);
        }
        turn();
    }
}

/* The head, byte by byte: hear would take bytes of the file with it. */
static void hear_head(struct client *client)
{
    char head[512];
    size_t len = 0;

    for (unsigned turns = 0; len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0;) {
        ssize_t got = recv(client->fd, head + len, 1, 0);
        assert_true(got == 1 || (got == -1 && errno == EAGAIN));
        if (got == 1)
            assert_true(++len < sizeof head);
        else
            assert_true(++turns < 2000);
        turn();
    }
    assert_memory_equal(head, "HTTP/1.1 200", 12);
}

static bool writing(void)
{
    return h2o_socket_is_writing(only_conn()->sock);
}

/* ---- tests ---- */

static void test_whole(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = 300;
    say(&client, GET("/own") GET("/"));
    hear_head(&client);
    hear_file(&client, SKIPPED_BYTES, 300);
    hear(&client, HELLO);
    assert_int_equal(fixture->whole, 2);
    assert_int_equal(fixture->proceeds, 1);
    client_close(&client);
}

static void test_head_waits_for_the_file(void **state)
{
    (void)state;
    struct client client = client_dial();
    struct tcp_info info;
    socklen_t len = sizeof info;

    asked = 300;
    say(&client, GET("/own"));
    hear_head(&client);
    hear_file(&client, SKIPPED_BYTES, asked);
    assert_int_equal(getsockopt(client.fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    assert_int_equal(info.tcpi_data_segs_in, 1);
    client_close(&client);
}

/* The kernel takes it in parts; what was asked for behind it waits. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = 20000000;
    say(&client, GET("/own"));
    until(writing());
    say(&client, GET("/"));
    assert_int_equal(fixture->calls, 1);
    hear_head(&client);
    hear_file(&client, SKIPPED_BYTES, asked);
    hear(&client, HELLO);
    assert_int_equal(fixture->whole, 2);
    client_close(&client);
}

static void test_client_leaves(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = 20000000;
    say(&client, GET("/own"));
    until(writing());
    client_close(&client);
    until(none_left());
    assert_int_equal(fixture->broken, 1);
    assert_int_equal(fixture->stops, 1);
    assert_int_equal(counted(SKY_COUNT_client_gone), 1);
}

/* It has shut its sending side, which does not say that it has gone. */
static void test_half_closed_client(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = 20000000;
    say(&client, GET("/own"));
    shutdown(client.fd, SHUT_WR);
    hear_head(&client);
    hear_file(&client, SKIPPED_BYTES, asked);
    hear_end(&client);
    assert_int_equal(fixture->whole, 1);
    client_close(&client);
}

static void test_client_takes_nothing(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = 20000000;
    say(&client, GET("/own"));
    until(counted(SKY_COUNT_cut_write_timeout) == 1);
    assert_true(none_left());
    assert_int_equal(fixture->broken, 1);
    client_close(&client);
}

/* What was there has been counted and sent; then its generator is asked. */
static void test_file_ends_early(void **state)
{
    (void)state;
    struct client client = client_dial();

    asked = FILE_BYTES;
    say(&client, GET("/own") GET("/"));
    hear_head(&client);
    hear_file(&client, SKIPPED_BYTES, FILE_BYTES - SKIPPED_BYTES);
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_cut_generator), 1);
    assert_int_equal(fixture->calls, 1);
    assert_int_equal(fixture->broken, 1);
    client_close(&client);
}

static void test_not_a_file(void **state)
{
    (void)state;
    struct client client = client_dial();
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_not_equal(dup2(fds[0], file), -1);
    asked = 300;
    say(&client, GET("/own"));
    hear_head(&client);
    hear_end(&client);
    assert_int_equal(counted(SKY_COUNT_cut_generator), 1);
    close(fds[0]);
    close(fds[1]);
    client_close(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_head_waits_for_the_file),
        TEST(test_slow_reader),
        TEST(test_client_leaves),
        TEST(test_half_closed_client),
        cmocka_unit_test_setup_teardown(test_client_takes_nothing, set_up_short_write, tear_down),
        TEST(test_file_ends_early),
        TEST(test_not_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests as uwsgi packets. */
#include "proxy/back/uwsgi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

static size_t number_at(const char *at)
{
    return (size_t)(uint8_t)at[0] | (size_t)(uint8_t)at[1] << 8;
}

/* The variables as lines NAME=value; heap. */
static char *vars_of(const struct sky_uwsgi *uwsgi, const char *head)
{
    char *packet = malloc(sky_uwsgi_bound(uwsgi, strlen(head))), *text = NULL;
    size_t len = sky_uwsgi_write(uwsgi, sky_text_of(head), packet), size;
    FILE *out = open_memstream(&text, &size);

    assert_true(len != 0);
    for (const char *at = packet + SKY_UWSGI_HEADER_BYTES; at < packet + len;) {
        size_t name = number_at(at), value = number_at(at + 2 + name);
        fprintf(out, "%.*s=%.*s\n", (int)name, at + 2, (int)value, at + 4 + name);
        at += 4 + name + value;
    }
    fclose(out);
    free(packet);
    return text;
}

static void expect(const struct sky_uwsgi *uwsgi, const char *head, const char *vars)
{
    char *found = vars_of(uwsgi, head);

    assert_string_equal(found, vars);
    free(found);
}

static void a_request(void **state)
{
    struct sky_uwsgi uwsgi = {.remote_addr = SKY_TEXT("10.0.0.7"),
                              .remote_port = SKY_TEXT("40000"),
                              .server_port = SKY_TEXT("443"),
                              .https = true};

    (void)state;
    expect(&uwsgi,
           "POST /a%20b%2Fc%zz?x=%20?y HTTP/1.1\r\n"
           "Host: shop.test:8443\r\n"
           "Content-Type: text/x\r\n"
           "X-Forwarded-For: 10.0.0.7\r\n"
           "x-a: 1\r\n"
           "Cookie: a=1\r\n"
           "X-A: 2\r\n"
           "cookie: b=2\r\n"
           "Content-Length: 5\r\n"
           "sw8: 1-a\r\n"
           "X-Empty: \r\n"
           "\r\n",
           "REQUEST_METHOD=POST\n"
           "REQUEST_URI=/a%20b%2Fc%zz?x=%20?y\n"
           "PATH_INFO=/a b/c%zz\n"
           "QUERY_STRING=x=%20?y\n"
           "SERVER_PROTOCOL=HTTP/1.1\n"
           "HTTP_HOST=shop.test:8443\n"
           "HTTP_X_FORWARDED_FOR=10.0.0.7\n"
           "HTTP_X_A=1, 2\n"
           "HTTP_COOKIE=a=1; b=2\n"
           "HTTP_SW8=1-a\n"
           "HTTP_X_EMPTY=\n"
           "CONTENT_TYPE=text/x\n"
           "CONTENT_LENGTH=5\n"
           "SERVER_NAME=shop.test\n"
           "SERVER_PORT=443\n"
           "REMOTE_ADDR=10.0.0.7\n"
           "REMOTE_PORT=40000\n"
           "REQUEST_SCHEME=https\n"
           "HTTPS=on\n"
           "DOCUMENT_ROOT=\n");
}

static void names_of_the_server(void **state)
{
    static const char *const hosts[][2] = {{"a", "a"},         {"a:80", "a"},
                                           {"[::1]", "[::1]"}, {"[::1]:80", "[::1]"},
                                           {"a:", "a"},        {"", ""}};
    struct sky_uwsgi uwsgi = {.server_port = SKY_TEXT("80")};

    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); ++i) {
        char head[64], line[64];
        snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i][0]);
        snprintf(line, sizeof(line), "\nSERVER_NAME=%s\n", hosts[i][1]);
        char *vars = vars_of(&uwsgi, head);
        assert_non_null(strstr(vars, line));
        assert_null(strstr(vars, "HTTPS"));
        assert_non_null(strstr(vars, "\nREQUEST_SCHEME=http\n"));
        free(vars);
    }
}

/* A block of exactly 65535 bytes is written, one of a byte more is not. */
static void the_longest_block(void **state)
{
    struct sky_uwsgi uwsgi = {.server_port = SKY_TEXT("80")};
    char *head = malloc(70000);

    (void)state;
    size_t longest = 0;
    for (size_t fill = 65000; fill < 65535; ++fill) {
        int len = sprintf(head, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
        memset(head + len, 'x', fill);
        strcpy(head + len + fill, "\r\n\r\n");
        char *packet = malloc(sky_uwsgi_bound(&uwsgi, strlen(head)));
        size_t written = sky_uwsgi_write(&uwsgi, sky_text_of(head), packet);
        if (written > longest)
            longest = written;
        free(packet);
    }
    assert_int_equal(longest, SKY_UWSGI_HEADER_BYTES + SKY_UWSGI_BLOCK_MAX_BYTES);
    free(head);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("uwsgi") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request),
        cmocka_unit_test(names_of_the_server),
        cmocka_unit_test(the_longest_block),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

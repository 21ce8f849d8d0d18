/* SPDX-License-Identifier: Apache-2.0 */
/* The front as a client meets it: requests in, answers out, over a real loop. */
#include "front_fixture.h"

#define HELLO                                                         \
    "HTTP/1.1 200 Reason\r\nX-Test: yes\r\nContent-Length: 5\r\n\r\n" \
    "hello"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: shop.test\r\n\r\n"

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
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    fixture_init(f);
    fixture_start(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

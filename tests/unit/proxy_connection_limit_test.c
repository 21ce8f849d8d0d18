/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections there may be, in all and of one address. */
#include "proxy/limit/connection_limit.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/limit/address_key.h"

static struct sky_trust nobody;

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
    }
    return address;
}

static void from(h2o_socket_t *sock, const char *text)
{
    struct sockaddr_storage address = address_of(text);

    memset(sock, 0, sizeof(*sock));
    h2o_socket_setpeername(sock, (struct sockaddr *)&address,
                           address.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                        : sizeof(struct sockaddr_in6));
}

static void leave(h2o_socket_t *sock)
{
    free(sock->_peername);
    sock->on_close.cb(sock->on_close.data);
}

/* ---- keys ---- */

static struct sky_address_key key_of(const char *text)
{
    struct sockaddr_storage address = address_of(text);
    struct sky_address_key key;

    assert_true(sky_address_key_of((struct sockaddr *)&address, &key));
    return key;
}

static bool same(const char *a, const char *b)
{
    struct sky_address_key first = key_of(a), second = key_of(b);

    return sky_address_key_equal(&first, &second);
}

static void test_keys(void **state)
{
    (void)state;
    struct sockaddr_storage unix_socket = {.ss_family = AF_UNIX};
    struct sky_address_key key;

    assert_true(same("192.0.2.1", "192.0.2.1"));
    assert_false(same("192.0.2.1", "192.0.2.2"));
    assert_true(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert_false(same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    assert_true(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
    assert_false(same("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert_false(sky_address_key_of((struct sockaddr *)&unix_socket, &key));
}

static void test_hash_depends_on_all(void **state)
{
    (void)state;
    struct sky_address_key one = key_of("192.0.2.1"), other = key_of("192.0.2.2");
    uint64_t hash = sky_address_key_hash(&one, 1, 2);

    assert_true(hash == sky_address_key_hash(&one, 1, 2));
    assert_true(hash != sky_address_key_hash(&other, 1, 2));
    assert_true(hash != sky_address_key_hash(&one, 2, 2));
    assert_true(hash != sky_address_key_hash(&one, 1, 3));
}

/* ---- limits ---- */

static void test_in_all(void **state)
{
    (void)state;
    struct sky_connection_limit *limit = sky_connection_limit_new(2, 0);
    h2o_socket_t a = {0}, b = {0}, c = {0};

    assert_true(sky_connection_limit_enter(limit, &a));
    assert_true(sky_connection_limit_enter(limit, &b));
    assert_false(sky_connection_limit_enter(limit, &c));
    assert_null(c.on_close.cb);
    leave(&a);
    assert_true(sky_connection_limit_enter(limit, &c));
    assert_false(sky_connection_limit_enter(limit, &a));
    sky_connection_limit_set(limit, 3, 0);
    assert_true(sky_connection_limit_enter(limit, &a));
    leave(&a);
    leave(&b);
    leave(&c);
    sky_connection_limit_destroy(limit);
}

static bool enter(struct sky_connection_limit *limit, h2o_socket_t *sock, const char *peer)
{
    from(sock, peer);
    assert_true(sky_connection_limit_enter(limit, sock));
    return sky_connection_limit_enter_address(limit, sock, &nobody);
}

static void test_of_one_address(void **state)
{
    (void)state;
    struct sky_connection_limit *limit = sky_connection_limit_new(100, 2);
    h2o_socket_t socks[8];

    assert_true(enter(limit, &socks[0], "192.0.2.1"));
    assert_true(enter(limit, &socks[1], "192.0.2.1"));
    assert_false(enter(limit, &socks[2], "192.0.2.1"));
    leave(&socks[2]); /* turned away: counted in all until it is closed, and no longer */
    assert_true(enter(limit, &socks[2], "192.0.2.2"));
    assert_true(enter(limit, &socks[3], "2001:db8::1"));
    assert_true(enter(limit, &socks[4], "2001:db8::2"));
    assert_false(enter(limit, &socks[5], "2001:db8::3"));
    leave(&socks[5]);
    leave(&socks[0]);
    assert_true(enter(limit, &socks[0], "192.0.2.1"));
    for (int i = 0; i < 5; i++)
        leave(&socks[i]);
    /* nothing is left of them */
    sky_connection_limit_set(limit, 1, 1);
    assert_true(enter(limit, &socks[0], "192.0.2.1"));
    leave(&socks[0]);
    sky_connection_limit_destroy(limit);
}

static void test_many_addresses(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static h2o_socket_t socks[COUNT];
    struct sky_connection_limit *limit = sky_connection_limit_new(COUNT, 1);

    for (int i = 0; i < COUNT; i++) {
        char text[32];
        snprintf(text, sizeof(text), "10.1.%d.%d", i / 250, i % 250);
        assert_true(enter(limit, &socks[i], text));
    }
    for (int i = 0; i < COUNT; i++)
        leave(&socks[(i * 37 + 5) % COUNT]);
    sky_connection_limit_destroy(limit);
}

static void test_trusted_peers_are_not_counted(void **state)
{
    (void)state;
    struct sky_connection_limit *limit = sky_connection_limit_new(100, 1);
    struct sky_trust trust;
    h2o_socket_t socks[3];

    assert_null(sky_trust_parse("192.0.2.0/24", &trust));
    for (int i = 0; i < 3; i++) {
        from(&socks[i], "192.0.2.1");
        assert_true(sky_connection_limit_enter(limit, &socks[i]));
        assert_true(sky_connection_limit_enter_address(limit, &socks[i], &trust));
    }
    for (int i = 0; i < 3; i++)
        leave(&socks[i]);
    sky_trust_fini(&trust);
    sky_connection_limit_destroy(limit);
}

static void test_auto(void **state)
{
    (void)state;
    assert_int_equal(sky_connection_limit_auto(0, 1), 16);
    assert_int_equal(sky_connection_limit_auto(1024, 2), (1024 - 128) / 2);
    assert_int_equal(sky_connection_limit_auto(UINT64_MAX, 64), 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),           cmocka_unit_test(test_hash_depends_on_all),
        cmocka_unit_test(test_in_all),         cmocka_unit_test(test_of_one_address),
        cmocka_unit_test(test_many_addresses), cmocka_unit_test(test_trusted_peers_are_not_counted),
        cmocka_unit_test(test_auto),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

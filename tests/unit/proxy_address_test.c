/* SPDX-License-Identifier: Apache-2.0 */
/* ADDR: the four forms, what is refused and in which words. */
#include "proxy/address.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static const struct good {
    const char *text, *host;
    uint16_t port;
    int family; /* AF_UNSPEC: a name */
} good[] = {
    {"127.0.0.1:8000", "127.0.0.1", 8000, AF_INET},
    {"0.0.0.0:1", "0.0.0.0", 1, AF_INET},
    {"[::1]:8000", "::1", 8000, AF_INET6},
    {"[2001:db8::7]:65535", "2001:db8::7", 65535, AF_INET6},
    {":8080", "", 8080, AF_INET6},
    {"app:8000", "app", 8000, AF_UNSPEC},
    {"a-b.c_d.svc.cluster.local:80", "a-b.c_d.svc.cluster.local", 80, AF_UNSPEC},
    {"7up:80", "7up", 80, AF_UNSPEC},
    {"localhost:00080", "localhost", 80, AF_UNSPEC},
};

static const struct bad {
    const char *text, *problem;
} bad[] = {
    {"", "has no port"},
    {"8080", "has no port"},
    {"app", "has no port"},
    {"app:", "has no port"},
    {":", "has no port"},
    {"[::1]", "has no port"},
    {"[::1]8000", "has no port"},
    {"[::1]:", "has no port"},
    {"app:0", "has a port that is no number from 1 to 65535"},
    {"app:80/x", "has a path, which an address has not"},
    {"app:65536", "has a port that is no number from 1 to 65535"},
    {"app:100000", "has a port that is no number from 1 to 65535"},
    {"app:-1", "has a port that is no number from 1 to 65535"},
    {"app:+1", "has a port that is no number from 1 to 65535"},
    {"app: 1", "has a port that is no number from 1 to 65535"},
    {"app:80x", "has a port that is no number from 1 to 65535"},
    {"app:http", "has a port that is no number from 1 to 65535"},
    {"[::1", "has no closing bracket"},
    {"[app]:80", "has no IPv6 address in its brackets"},
    {"[]:80", "has no IPv6 address in its brackets"},
    {"[127.0.0.1]:80", "has no IPv6 address in its brackets"},
    {"::1:80", "has an IPv6 address without brackets"},
    {"http://app:80", "has a scheme, which an address has not"},
    {"300.1.1.1:80", "has a host that is no IPv4 address"},
    {"127.0.0:80", "has a host that is no IPv4 address"},
    {"*:80", "has a character in its host that no name has"},
    {"a b:80", "has a character in its host that no name has"},
    {"\xc3\xa4pp:80", "has a character in its host that no name has"},
    {"unix:", "has no / after unix:"},
    {"unix:app.sock", "has no / after unix:"},
    {"unix:@app", "has no / after unix:"},
    {"unix:/run/\xff.sock", "has a path that is no UTF-8 or holds a control character"},
    {"unix:/run/\n.sock", "has a path that is no UTF-8 or holds a control character"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct sky_address address;
        assert_null(sky_address_parse(good[i].text, &address));
        assert_string_equal(address.text, good[i].text);
        assert_string_equal(address.host, good[i].host);
        assert_int_equal(address.port, good[i].port);
        if (good[i].family == AF_UNSPEC) {
            assert_int_equal(address.sockaddr_len, 0);
        } else {
            assert_int_equal(address.sockaddr.ss_family, good[i].family);
            assert_true(address.sockaddr_len > 0);
            /* the port is at the same place in both families */
            assert_int_equal(ntohs(((struct sockaddr_in *)&address.sockaddr)->sin_port),
                             good[i].port);
        }
        sky_address_fini(&address);
        assert_null(address.text);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sky_address address;
        const char *problem = sky_address_parse(bad[i].text, &address);
        if (problem == NULL)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(problem, bad[i].problem);
        assert_null(address.text);
        assert_null(address.host);
    }
}

static void test_overlaps(void **state)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {":80", "127.0.0.1:80", true},
        {":80", "[::1]:80", true},
        {":80", "[::]:80", true},
        {"0.0.0.0:80", ":80", true},
        {"0.0.0.0:80", "[::]:80", true},
        {"0.0.0.0:80", "127.0.0.1:80", true},
        {"[::]:80", "localhost:80", true},
        {"0.0.0.0:80", "[::1]:80", false},
        {":80", "127.0.0.1:81", false},
        {"127.0.0.1:80", "[::1]:80", false},
        {":80", ":80", false},
        {"127.0.0.1:80", "127.0.0.2:80", false},
        {":80", "unix:/80", false},
        {"unix:/a", "unix:/b", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sky_address a, b;
        assert_null(sky_address_parse(cases[i].a, &a));
        assert_null(sky_address_parse(cases[i].b, &b));
        assert_int_equal(sky_address_overlaps(&a, &b), cases[i].overlap);
        assert_int_equal(sky_address_overlaps(&b, &a), cases[i].overlap);
        sky_address_fini(&a);
        sky_address_fini(&b);
    }
}

static void test_unix(void **state)
{
    struct sky_address address;
    (void)state;
    assert_null(sky_address_parse("unix:/run/app.sock", &address));
    assert_null(address.host);
    assert_int_equal(address.port, 0);
    assert_int_equal(address.sockaddr.ss_family, AF_UNIX);
    assert_string_equal(((struct sockaddr_un *)&address.sockaddr)->sun_path, "/run/app.sock");
    assert_int_equal(address.sockaddr_len,
                     offsetof(struct sockaddr_un, sun_path) + sizeof("/run/app.sock"));
    sky_address_fini(&address);
}

static void test_longest_path(void **state)
{
    char text[sizeof("unix:") + 108];
    struct sky_address address;
    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text, "unix:/", 6);
    text[5 + 107] = '\0';
    assert_null(sky_address_parse(text, &address));
    sky_address_fini(&address);
    text[5 + 107] = 'a';
    text[5 + 108] = '\0';
    assert_string_equal(sky_address_parse(text, &address), "has a path longer than 107 bytes");
}

static void test_longest_name(void **state)
{
    char text[300];
    struct sky_address address;
    (void)state;
    memset(text, 'a', sizeof(text));
    strcpy(text + 253, ":80");
    assert_null(sky_address_parse(text, &address));
    sky_address_fini(&address);
    memset(text, 'a', sizeof(text));
    strcpy(text + 254, ":80");
    assert_string_equal(sky_address_parse(text, &address), "has a host longer than 253 bytes");
}

/* Whatever is left of a sound address is taken or refused without leaving anything behind. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t len = 0; len < strlen(good[i].text); len++) {
            char text[64];
            struct sky_address address;
            snprintf(text, sizeof(text), "%.*s", (int)len, good[i].text);
            if (sky_address_parse(text, &address) == NULL)
                assert_string_equal(address.text, text);
            sky_address_fini(&address);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_bad),
        cmocka_unit_test(test_overlaps),     cmocka_unit_test(test_unix),
        cmocka_unit_test(test_longest_path), cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whom trust believes, and which lists are refused. */
#include "proxy/trust.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static bool believes(const char *trust_text, const char *peer)
{
    struct sky_trust trust;
    struct sockaddr_storage storage = {.ss_family = AF_UNIX};
    struct sockaddr_in *in = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
    assert_null(sky_trust_parse(trust_text, &trust));
    assert_string_equal(trust.text, trust_text);
    if (strchr(peer, ':') != NULL) {
        storage.ss_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, peer, &in6->sin6_addr), 1);
    } else if (strcmp(peer, "unix") != 0) {
        storage.ss_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, peer, &in->sin_addr), 1);
    }
    bool believed = sky_trust_peer(&trust, (struct sockaddr *)&storage);
    sky_trust_fini(&trust);
    return believed;
}

static const struct peer {
    const char *trust, *peer;
    bool believed;
} peers[] = {
    {"private", "127.0.0.1", true},
    {"private", "127.255.255.255", true},
    {"private", "128.0.0.0", false},
    {"private", "126.255.255.255", false},
    {"private", "10.0.0.0", true},
    {"private", "11.0.0.0", false},
    {"private", "172.15.255.255", false},
    {"private", "172.16.0.0", true},
    {"private", "172.31.255.255", true},
    {"private", "172.32.0.0", false},
    {"private", "192.168.255.255", true},
    {"private", "192.169.0.0", false},
    {"private", "169.254.1.1", true},
    {"private", "8.8.8.8", false},
    {"private", "::1", true},
    {"private", "::2", false},
    {"private", "::", false},
    {"private", "fe80::1", true},
    {"private", "febf::1", true},
    {"private", "fec0::1", false},
    {"private", "fc00::1", true},
    {"private", "fdff::1", true},
    {"private", "fe00::1", false},
    {"private", "2001:db8::1", false},
    {"private", "::ffff:10.1.2.3", true},
    {"private", "::ffff:8.8.8.8", false},
    {"private", "unix", true},
    {"always", "8.8.8.8", true},
    {"always", "unix", true},
    {"never", "127.0.0.1", false},
    {"never", "unix", false},
    {"203.0.113.7", "203.0.113.7", true},
    {"203.0.113.7", "203.0.113.6", false},
    {"203.0.113.7", "unix", false},
    {"203.0.113.7, unix", "unix", true},
    {"203.0.113.0/24,2001:db8::/33", "203.0.113.255", true},
    {"203.0.113.0/24,2001:db8::/33", "203.0.112.255", false},
    {"203.0.113.0/24,2001:db8::/33", "2001:db8:7fff::1", true},
    {"203.0.113.0/24,2001:db8::/33", "2001:db8:8000::1", false},
    {"203.0.113.9/24", "203.0.113.1", true},
    {"private, 203.0.113.0/24", "192.168.0.1", true},
    {"private, 203.0.113.0/24", "203.0.113.1", true},
    {"0.0.0.0/0", "8.8.8.8", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"10.0.0.0/31", "10.0.0.1", true},
    {"10.0.0.0/31", "10.0.0.2", false},
    {"10.0.0.1/32", "10.0.0.1", true},
    {"2001:db8::1/128", "2001:db8::1", true},
    {"2001:db8::1/128", "2001:db8::", false},
};

static void test_peers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        if (believes(peers[i].trust, peers[i].peer) != peers[i].believed)
            fail_msg("%s and %s", peers[i].trust, peers[i].peer);
    }
}

static const char no_cidr[] = "has an entry that is no IP address or CIDR";
static const char no_prefix[] = "has a prefix length that is no number up to 32 (IPv4) or 128";

static const struct bad {
    const char *text, *problem;
} bad[] = {
    {"", "has an empty entry"},
    {" ", "has an empty entry"},
    {"10.0.0.0/8,", "has an empty entry"},
    {",10.0.0.0/8", "has an empty entry"},
    {"10.0.0.0/8,,::1", "has an empty entry"},
    {"Private", no_cidr},
    {"10.0.0", no_cidr},
    {"10.0.0.0.0", no_cidr},
    {"[::1]", no_cidr},
    {"/8", no_cidr},
    {"app", no_cidr},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333:4444:5555", no_cidr},
    {"10.0.0.0/33", no_prefix},
    {"10.0.0.0/-1", no_prefix},
    {"10.0.0.0/", no_prefix},
    {"10.0.0.0/8/8", no_prefix},
    {"10.0.0.0/ 8", no_prefix},
    {"::/129", no_prefix},
    {"::/1000", no_prefix},
    {"always,10.0.0.0/8", "has always or never beside another entry"},
    {"private,never", "has always or never beside another entry"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sky_trust trust;
        const char *problem = sky_trust_parse(bad[i].text, &trust);
        if (problem == NULL)
            fail_msg("taken: %s", bad[i].text);
        assert_string_equal(problem, bad[i].problem);
        assert_null(trust.cidrs);
        assert_false(trust.unix_sockets);
    }
}

static void test_unknown_peers(void **state)
{
    struct sky_trust trust;
    struct sockaddr other = {.sa_family = AF_UNSPEC};
    (void)state;
    assert_null(sky_trust_parse("private", &trust));
    assert_false(sky_trust_peer(&trust, NULL));
    assert_false(sky_trust_peer(&trust, &other));
    sky_trust_fini(&trust);
    assert_null(sky_trust_parse("always", &trust));
    assert_false(sky_trust_peer(&trust, NULL));
    assert_true(sky_trust_peer(&trust, &other));
    sky_trust_fini(&trust);
}

static void test_cut(void **state)
{
    static const char whole[] = "private, 203.0.113.0/24, 2001:db8::/33, unix";
    (void)state;
    for (size_t len = 0; len < sizeof(whole); len++) {
        char text[sizeof(whole)];
        struct sky_trust trust;
        snprintf(text, sizeof(text), "%.*s", (int)len, whole);
        if (sky_trust_parse(text, &trust) == NULL)
            assert_string_equal(trust.text, text);
        sky_trust_fini(&trust);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_unknown_peers),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

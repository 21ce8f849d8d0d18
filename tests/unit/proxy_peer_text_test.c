/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/peer_text.h"

static struct sockaddr_storage ipv4(const char *text, uint16_t port)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)&peer;

    in->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, text, &in->sin_addr), 1);
    return peer;
}

static struct sockaddr_storage ipv6(const char *text, uint16_t port)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET6};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&peer;

    in6->sin6_port = htons(port);
    assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
    return peer;
}

static void assert_texts(struct sockaddr_storage peer, const char *ip, const char *ip_port)
{
    char *dst = malloc(SKY_PEER_TEXT_BYTES);
    struct sky_text text = sky_peer_ip(&peer, dst);

    assert_int_equal(text.len, strlen(ip));
    assert_memory_equal(text.base, ip, text.len);
    text = sky_peer_ip_port(&peer, dst);
    assert_int_equal(text.len, strlen(ip_port));
    assert_memory_equal(text.base, ip_port, text.len);
    free(dst);
}

static void both_families_are_written_as_the_agents_write_them(void **state)
{
    (void)state;

    assert_texts(ipv4("127.0.0.1", 80), "127.0.0.1", "127.0.0.1:80");
    assert_texts(ipv4("255.255.255.255", 65535), "255.255.255.255", "255.255.255.255:65535");
    assert_texts(ipv4("0.0.0.0", 0), "0.0.0.0", "0.0.0.0:0");
    assert_texts(ipv6("::1", 8080), "::1", "[::1]:8080");
    assert_texts(ipv6("fe80::1234:5678:9abc:def0", 1), "fe80::1234:5678:9abc:def0",
                 "[fe80::1234:5678:9abc:def0]:1");
    assert_texts(ipv6("1111:2222:3333:4444:5555:6666:7777:8888", 65535),
                 "1111:2222:3333:4444:5555:6666:7777:8888",
                 "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
    assert_texts(ipv6("::ffff:10.1.2.3", 443), "10.1.2.3", "10.1.2.3:443");
}

static void other_families_have_no_text(void **state)
{
    (void)state;

    assert_texts((struct sockaddr_storage){.ss_family = AF_UNIX}, "", "");
    assert_texts((struct sockaddr_storage){.ss_family = AF_UNSPEC}, "", "");
}

static void every_octet_is_written_as_inet_ntop_does(void **state)
{
    char expected[INET_ADDRSTRLEN];
    (void)state;

    for (unsigned octet = 0; octet < 256; ++octet) {
        snprintf(expected, sizeof(expected), "%u.9.%u.10", octet, octet);
        char with_port[32];
        snprintf(with_port, sizeof(with_port), "%s:%u", expected, octet * 257);
        assert_texts(ipv4(expected, (uint16_t)(octet * 257)), expected, with_port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_are_written_as_the_agents_write_them),
        cmocka_unit_test(other_families_have_no_text),
        cmocka_unit_test(every_octet_is_written_as_inet_ntop_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of the PROXY protocol as its specification shows them. */
#include "proxy/back/proxy_out.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct sockaddr_storage address(int family, const char *text, uint16_t port)
{
    struct sockaddr_storage made = {.ss_family = (sa_family_t)family};

    if (family == AF_INET) {
        ((struct sockaddr_in *)&made)->sin_port = htons(port);
        inet_pton(AF_INET, text, &((struct sockaddr_in *)&made)->sin_addr);
    } else if (family == AF_INET6) {
        ((struct sockaddr_in6 *)&made)->sin6_port = htons(port);
        inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&made)->sin6_addr);
    }
    return made;
}

static void expect(enum sky_proxy_protocol version, const struct sockaddr_storage *client,
                   const struct sockaddr_storage *local, const char *bytes, size_t len)
{
    char header[SKY_PROXY_OUT_BYTES];
    size_t found = sky_proxy_out_write(version, (const struct sockaddr *)client,
                                       (const struct sockaddr *)local, header);

    assert_int_equal(found, len);
    assert_memory_equal(header, bytes, len);
}

#define EXPECT(version, client, local, bytes) \
    expect(SKY_PROXY_PROTOCOL_##version, client, local, bytes, sizeof(bytes) - 1)

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static void known_clients(void **state)
{
    struct sockaddr_storage v4 = address(AF_INET, "10.0.0.7", 40000);
    struct sockaddr_storage local4 = address(AF_INET, "192.168.0.1", 443);
    struct sockaddr_storage mapped = address(AF_INET6, "::ffff:10.0.0.7", 40000);
    struct sockaddr_storage mapped_local = address(AF_INET6, "::ffff:192.168.0.1", 443);
    struct sockaddr_storage v6 = address(AF_INET6, "fd00::7", 40000);
    struct sockaddr_storage local6 = address(AF_INET6, "fd00::1", 443);

    (void)state;
    EXPECT(V1, &v4, &local4, "PROXY TCP4 10.0.0.7 192.168.0.1 40000 443\r\n");
    EXPECT(V1, &mapped, &mapped_local, "PROXY TCP4 10.0.0.7 192.168.0.1 40000 443\r\n");
    EXPECT(V1, &v6, &local6, "PROXY TCP6 fd00::7 fd00::1 40000 443\r\n");
    EXPECT(V1, &v4, &local6, "PROXY TCP6 ::ffff:10.0.0.7 fd00::1 40000 443\r\n");
    EXPECT(V2, &v4, &local4,
           SIGNATURE "\x21\x11\x00\x0c"
                     "\x0a\x00\x00\x07\xc0\xa8\x00\x01\x9c\x40\x01\xbb");
    EXPECT(V2, &v6, &local6,
           SIGNATURE "\x21\x21\x00\x24"
                     "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07"
                     "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x9c\x40\x01\xbb");
}

static void unknown_clients(void **state)
{
    struct sockaddr_storage unix_socket = {.ss_family = AF_UNIX};
    struct sockaddr_storage v4 = address(AF_INET, "10.0.0.7", 1);

    (void)state;
    EXPECT(V1, &unix_socket, &v4, "PROXY UNKNOWN\r\n");
    EXPECT(V1, &v4, &unix_socket, "PROXY UNKNOWN\r\n");
    EXPECT(V1, NULL, NULL, "PROXY UNKNOWN\r\n");
    EXPECT(V2, NULL, NULL, SIGNATURE "\x20\x00\x00\x00");
    EXPECT(OFF, &v4, &v4, "");
}

static void the_longest_fits(void **state)
{
    struct sockaddr_storage longest =
        address(AF_INET6, "2001:1111:1111:1111:1111:1111:1111:1111", 65535);
    char header[SKY_PROXY_OUT_BYTES];

    (void)state;
    size_t len = sky_proxy_out_write(SKY_PROXY_PROTOCOL_V1, (const struct sockaddr *)&longest,
                                     (const struct sockaddr *)&longest, header);
    assert_true(len < sizeof(header));
    assert_memory_equal(header + len - 2, "\r\n", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_clients),
        cmocka_unit_test(unknown_clients),
        cmocka_unit_test(the_longest_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

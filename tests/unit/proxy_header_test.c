/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of the PROXY protocol, sound and not, whole and cut at every byte. */
#include "proxy/front/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/peer_text.h"
#include "tests/fuzz/corpus.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define IPV4 "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x00\x50"
#define IPV6                                                           \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0" \
    "\0\0\0\0\0\0\0\0\x02\x04\xd2\x00\x50"
#define TEXT(literal) SKY_TEXT_INIT(literal)

static const struct {
    struct sky_text input;
    const char *client; /* "": nobody is named */
} sound[] = {
    {TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n"), "192.0.2.1:1234"},
    {TEXT("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), "0.0.0.0:0"},
    {TEXT("PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n"), "[2001:db8::1]:1234"},
    {TEXT("PROXY UNKNOWN\r\n"), ""},
    {TEXT("PROXY UNKNOWN what ever stands here\r\n"), ""},
    {TEXT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    {TEXT(SIGNATURE "\x21\x11\x00\x0c" IPV4), "192.0.2.1:1234"},
    {TEXT(SIGNATURE "\x21\x21\x00\x24" IPV6), "[2001:db8::1]:1234"},
    /* with fields behind the addresses */
    {TEXT(SIGNATURE "\x21\x11\x00\x13" IPV4 "\x04\x00\x04tlv!"), "192.0.2.1:1234"},
    {TEXT(SIGNATURE "\x20\x00\x00\x00"), ""},
    {TEXT(SIGNATURE "\x20\x11\x00\x0c" IPV4), ""},
    {TEXT(SIGNATURE "\x21\x00\x00\x00"), ""},
    {TEXT(SIGNATURE "\x21\x12\x00\x0c" IPV4), ""}, /* UDP */
};

static const struct sky_text defective[] = {
    TEXT("GET / HTTP/1.1\r\n"),
    TEXT("proxy TCP4 192.0.2.1 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY\r\n"),
    TEXT("PROXY \r\n"),
    TEXT("PROXY TCP5 192.0.2.1 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80 \r\n"),
    TEXT("PROXY TCP4  192.0.2.1 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1234 80 90\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 01 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1a 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 123456 80\r\n"),
    TEXT("PROXY TCP4 2001:db8::1 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY TCP6 192.0.2.1 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY TCP4 192.0.2.1\0x 192.0.2.2 1234 80\r\n"),
    TEXT("PROXY UNKNOWN 0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901\r\n"),
    TEXT("\x16\x03\x01\x02\x00\x01\x00"),
    TEXT("\r\n\r\n\0\r\nQUIX\n\x21\x11\x00\x0c" IPV4),
    TEXT(SIGNATURE "\x11\x11\x00\x0c" IPV4),
    TEXT(SIGNATURE "\x22\x11\x00\x0c" IPV4),
    TEXT(SIGNATURE "\x21\x11\x00\x0b" IPV4),
    TEXT(SIGNATURE "\x21\x21\x00\x0c" IPV4),
    TEXT(SIGNATURE "\x21\x11\xff\xff" IPV4),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Of exactly that size, so that AddressSanitizer sees a read beyond it. */
static enum sky_proxy_header_result parse(const char *base, size_t len,
                                          struct sky_proxy_header *header)
{
    char *exact = malloc(len != 0 ? len : 1);

    memcpy(exact, base, len);
    enum sky_proxy_header_result result = sky_proxy_header_parse(sky_text(exact, len), header);
    free(exact);
    return result;
}

static void test_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(sound); i++) {
        struct sky_proxy_header header;
        char followed[512], client[SKY_PEER_TEXT_BYTES];
        size_t len = sound[i].input.len;

        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(parse(sound[i].input.base, cut, &header), SKY_PROXY_HEADER_MORE);
        memcpy(followed, sound[i].input.base, len);
        memcpy(followed + len, "GET / HTTP/1.1\r\n", 16);
        assert_int_equal(parse(followed, len + 16, &header), SKY_PROXY_HEADER_WHOLE);
        assert_int_equal(header.bytes, len);
        assert_int_equal(header.client_len != 0, sound[i].client[0] != '\0');
        struct sky_text text = sky_peer_ip_port(&header.client, client);
        if (!sky_text_equal(text, sky_text_of(sound[i].client)))
            fail_msg("%zu: %.*s", i, (int)text.len, text.base);
    }
}

static void test_defective(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(defective); i++) {
        struct sky_proxy_header header;
        bool bad = false;
        if (parse(defective[i].base, defective[i].len, &header) != SKY_PROXY_HEADER_BAD)
            fail_msg("%zu: %s", i, defective[i].base);
        /* cut: not yet, or bad, but never whole */
        for (size_t cut = 0; cut < defective[i].len; cut++) {
            enum sky_proxy_header_result result = parse(defective[i].base, cut, &header);
            assert_int_not_equal(result, SKY_PROXY_HEADER_WHOLE);
            assert_true(!bad || result == SKY_PROXY_HEADER_BAD);
            bad = result == SKY_PROXY_HEADER_BAD;
        }
    }
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("proxy_header") >= 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_defective),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

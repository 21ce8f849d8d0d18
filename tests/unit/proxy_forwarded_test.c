/* SPDX-License-Identifier: Apache-2.0 */
/* The field Forwarded: our own element, behind what a trusted peer has said in either way. */
#include "proxy/back/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

#define OWN "for=127.0.0.1;host=\"a:80\";proto=http"

static struct sky_text text(const char *chars)
{
    return sky_text(chars, strlen(chars));
}

/* The value that comes of one X-Forwarded-For, with the room that it may take. */
static char *converted(struct sky_text list, const char *host, const char *proto)
{
    static char written[4096];
    h2o_header_t field = {.name = &H2O_TOKEN_X_FORWARDED_FOR->buf,
                          .value = h2o_iovec_init(list.base, list.len)};
    h2o_headers_t headers = {.entries = &field, .size = 1, .capacity = 1};
    struct sky_forwarded forwarded = {.headers = &headers,
                                      .converts = true,
                                      .outer_host = text(host),
                                      .outer_proto = text(proto),
                                      .client = SKY_TEXT("127.0.0.1"),
                                      .host = SKY_TEXT("a:80"),
                                      .proto = SKY_TEXT("http")};
    char *end = sky_forwarded_write(&forwarded, written);

    *end = '\0';
    assert_in_range(end - written, 0,
                    sky_forwarded_bound(&headers) + strlen(host) + strlen(proto) + 64);
    return written;
}

static void a_list_becomes_elements(void **state)
{
    static const char *const cases[][4] = {
        {"192.0.2.1", "", "", "for=192.0.2.1, " OWN},
        {"192.0.2.1, 10.0.0.1", "shop.test", "https",
         "for=192.0.2.1;host=\"shop.test\";proto=https, for=10.0.0.1, " OWN},
        {"192.0.2.1:1234,[2001:db8::1]:99", "", "", "for=192.0.2.1, for=\"[2001:db8::1]\", " OWN},
        {"2001:DB8:0::1", "", "", "for=\"[2001:db8::1]\", " OWN},
        {"unknown, ,\tx\"y;z=1 ,", "", "", "for=unknown, for=unknown, " OWN},
        {"192.0.2.1", "a.test, b.test", "https,http", "for=192.0.2.1, " OWN},
        {"192.0.2.1", "a\";by=\"evil", "ht tp", "for=192.0.2.1, " OWN},
        {"192.0.2.1", "[::1]:8443", "wss", "for=192.0.2.1;host=\"[::1]:8443\";proto=wss, " OWN},
        {",", "a.test", "https", OWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i)
        assert_string_equal(converted(text(cases[i][0]), cases[i][1], cases[i][2]), cases[i][3]);
}

static void it_fits_wherever_a_list_ends(void **state)
{
    static const char list[] = "x,1::2, 1.2.3.4:5 ,,[::]:1,y\",::ffff:1.2.3.4,[1::2";

    (void)state;
    for (size_t len = 0; len < sizeof(list); ++len) {
        char *cut = malloc(len + 1); /* of that size, for AddressSanitizer */
        memcpy(cut, list, len);
        converted(sky_text(cut, len), "h", "p");
        free(cut);
    }
}

static void the_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("forwarded") >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_becomes_elements),
        cmocka_unit_test(it_fits_wherever_a_list_ends),
        cmocka_unit_test(the_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of byte classes against the grammar it stands for. */
#include "proxy/http/http1_chars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool in(const char *set, int byte)
{
    return byte != 0 && strchr(set, byte) != NULL;
}

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        bool visible = i > 0x20 && i < 0x7f, high = i >= 0x80;
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_DIGIT), in(DIGITS, i));
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_HEX), in(DIGITS "abcdefABCDEF", i));
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_TOKEN),
                         in("!#$%&'*+-.^_`|~" DIGITS LETTERS, i));
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_VALUE),
                         visible || high || i == ' ' || i == '\t');
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_TARGET), (visible && i != '#') || high);
        assert_int_equal(sky_http1_is(byte, SKY_HTTP1_HOST), in("-._~"
                                                                "!$&'()*+,;="
                                                                "%" DIGITS LETTERS,
                                                                i));
    }
}

/* Each byte at each place of a value of 40: whatever the compiler made of the loop. */
static void test_values(void **state)
{
    (void)state;
    for (size_t at = 0; at < 40; at++)
        for (int i = 0; i < 256; i++) {
            char value[40];
            memset(value, 'v', sizeof value);
            value[at] = (char)i;
            assert_int_equal(sky_http1_is_value(value, sizeof value),
                             sky_http1_is((char)i, SKY_HTTP1_VALUE));
            assert_true(sky_http1_is_value(value, at));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

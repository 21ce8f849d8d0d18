/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/stitch/stitch_token.h"

static void assert_mac(struct sky_stitch_token *token, const char *segment, const char *t0,
                       const char *expected)
{
    char mac[SKY_STITCH_MAC_HEX + 1] = {0};
    assert_true(sky_stitch_token_mac(token, sky_text_of(segment), sky_text_of(t0), mac));
    assert_string_equal(mac, expected);
}

/* The expected values were made by Python's hmac. Each is asked for twice, since the context is
 * used again; the second secret is longer than a block of SHA-256. */
static void the_mac_is_what_the_helper_computes(void **state)
{
    char secret[101];
    (void)state;
    struct sky_stitch_token *token = sky_stitch_token_new("correct horse");
    assert_non_null(token);
    for (int i = 0; i < 2; i++)
        assert_mac(token, "5e9c0000000000000000000000007a11", "1700000000123456",
                   "94c54695812aff71376aa737be7d727459c20402942a028b6cc08409abaefb93");
    sky_stitch_token_destroy(token);

    memset(secret, 'x', 100);
    secret[100] = '\0';
    token = sky_stitch_token_new(secret);
    for (int i = 0; i < 2; i++)
        assert_mac(token, "00000000000000000000000000000001", "0",
                   "6cef1a771d099a70fcd36939258690b429c77af9469bd377acf30b78a48ae861");
    sky_stitch_token_destroy(token);
}

static void no_secret_is_no_token(void **state)
{
    (void)state;
    assert_null(sky_stitch_token_new(NULL));
    assert_null(sky_stitch_token_new(""));
    sky_stitch_token_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mac_is_what_the_helper_computes),
        cmocka_unit_test(no_secret_is_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

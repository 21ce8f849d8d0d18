/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "propagation/base64.h"
#include "propagation/sw8_correlation.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

#define A "a2V5:dmFsdWU="     /* key: value */
#define B "dGVuYW50:YWNtZQ==" /* tenant: acme */
#define C "cmVnaW9u:ZXU="     /* region: eu */
#define D "eA==:eQ=="         /* x: y */

static void assert_cleaned(const char *value, size_t len, const char *expected)
{
    struct sky_text text = exact_copy(value, len);
    char *dst = malloc(len);
    size_t n = sky_correlation_clean(text, dst);

    if (n != strlen(expected) || (n != 0 && memcmp(dst, expected, n) != 0))
        fail_msg("%.*s became %.*s", (int)len, value, (int)n, dst);
    free(dst);
    exact_free(text);
}

static void sound_elements_go_on_as_they_came(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {A, A},
        {A "," B "," C, A "," B "," C},
        {A "," B "," C "," D, A "," B "," C},
        {"nonsense," A, A},
        {A ",," B ",", A "," B},
        {",", ""},
        {":", ""},
        {":dmFsdWU=", ""},  /* no key */
        {"a2V5:", "a2V5:"}, /* an empty value is a value */
        {"a2V5", ""},
        {"a2V5:dmFs:dWU=", ""}, /* three parts */
        {A " ,\t" B, A "," B},
        {" " A " ", A},
        {"a2V5 :dmFsdWU=," D, D},
        {"a2V:dmFsdWU=", ""}, /* unpadded */
        {"a2V5:dmFsdWU", ""},
        {"a2V5:dmFsdW_=", ""}, /* URL-safe */
        {"a2V5:/w==," B, B},   /* not UTF-8 */
        {"/w==:dmFsdWU=," B, B},
        {"AA==:dmFsdWU=," B, B},   /* NUL */
        {"bad,bad,bad,bad," A, A}, /* defective ones take no place */
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i)
        assert_cleaned(cases[i][0], strlen(cases[i][0]), cases[i][1]);
}

static void a_value_may_have_128_bytes(void **state)
{
    char plain[SKY_CORRELATION_MAX_VALUE_BYTES + 1], value[256] = "eA==:";
    (void)state;

    memset(plain, 'v', sizeof(plain));
    size_t n = 5 + sky_base64_encode(value + 5, sky_text(plain, SKY_CORRELATION_MAX_VALUE_BYTES));
    value[n] = '\0';
    assert_cleaned(value, n, value);
    n = 5 + sky_base64_encode(value + 5, sky_text(plain, sizeof(plain)));
    assert_cleaned(value, n, "");
}

/* Elements are whole or missing; only the last one can be cut where its value is whole again. */
static void every_cut_keeps_whole_elements_only(void **state)
{
    static const char value[] = A "," B "," C;
    (void)state;

    for (size_t len = 0; len < sizeof(value) - 1; ++len) {
        struct sky_text cut = exact_copy(value, len);
        char *dst = malloc(len), again[sizeof(value)];
        size_t n = sky_correlation_clean(cut, dst);
        assert_true(n <= len);
        if (n != 0)
            assert_memory_equal(dst, value, n);
        assert_int_equal(sky_correlation_clean(sky_text(dst, n), again), n);
        if (len >= strlen(A))
            assert_true(n >= strlen(A));
        if (len >= strlen(A "," B))
            assert_true(n >= strlen(A "," B));
        free(dst);
        exact_free(cut);
    }
}

static void corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("correlation") >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_elements_go_on_as_they_came),
        cmocka_unit_test(a_value_may_have_128_bytes),
        cmocka_unit_test(every_cut_keeps_whole_elements_only),
        cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

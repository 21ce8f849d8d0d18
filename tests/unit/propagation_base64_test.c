/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "propagation/base64.h"
#include "tests/unit/exact.h"

static void encodes_the_vectors_of_rfc_4648(void **state)
{
    static const char *const vectors[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); ++i) {
        struct sky_text plain = exact_copy(vectors[i][0], strlen(vectors[i][0]));
        size_t len = strlen(vectors[i][1]);
        char encoded[8], decoded[6];
        assert_int_equal(SKY_BASE64_LEN(plain.len), len);
        assert_int_equal(sky_base64_encode(encoded, plain), len);
        assert_memory_equal(encoded, vectors[i][1], len);
        assert_int_equal(sky_base64_decode(decoded, sky_text(encoded, len)), plain.len);
        assert_memory_equal(decoded, vectors[i][0], plain.len);
        exact_free(plain);
    }
}

static void every_byte_in_every_place_comes_back(void **state)
{
    (void)state;

    for (size_t len = 1; len <= 7; ++len) {
        for (size_t place = 0; place < len; ++place) {
            for (int byte = 0; byte < 256; ++byte) {
                char plain[7] = {0x55, 0x2a, 0x7f, 0x11, 0x5a, 0x33, 0x0f}, encoded[12], decoded[9];
                plain[place] = (char)byte;
                size_t n = sky_base64_encode(encoded, sky_text(plain, len));
                struct sky_text text = exact_copy(encoded, n);
                assert_int_equal(sky_base64_decode(decoded, text), len);
                assert_memory_equal(decoded, plain, len);
                exact_free(text);
            }
        }
    }
}

static bool in_alphabet(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

static void a_foreign_character_anywhere_is_refused(void **state)
{
    (void)state;

    for (size_t place = 0; place < 8; ++place) {
        for (int c = 0; c < 256; ++c) {
            char text[8] = {'A', 'A', 'A', 'A', 'A', 'A', 'A', 'A'}, decoded[6];
            /* One `=` may stand at the end. */
            ssize_t expected = in_alphabet(c) ? 6 : (c == '=' && place == 7 ? 5 : -1);
            text[place] = (char)c;
            assert_int_equal(sky_base64_decode(decoded, sky_text(text, sizeof(text))), expected);
        }
    }
}

static void defects_are_refused(void **state)
{
    static const char *const defects[] = {
        "A",        "AA",       "AAA",    "AAAAA",    "AA=",      "AAA=A", "A===",
        "====",     "=AAA",     "AA=A",   "AA==AAAA", "AAA=AAAA", "AB==",  "AAB=",
        "AAAA====", "AAAA=AAA", "AA==\n", " AA==",    "AA_-",
    };
    (void)state;

    for (size_t i = 0; i < sizeof(defects) / sizeof(defects[0]); ++i) {
        struct sky_text text = exact_copy(defects[i], strlen(defects[i]));
        char decoded[9];
        if (sky_base64_decode(decoded, text) != -1)
            fail_msg("accepted: %s", defects[i]);
        exact_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_vectors_of_rfc_4648),
        cmocka_unit_test(every_byte_in_every_place_comes_back),
        cmocka_unit_test(a_foreign_character_anywhere_is_refused),
        cmocka_unit_test(defects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "propagation/utf8.h"
#include "tests/unit/exact.h"

#define FFFD "\xef\xbf\xbd"

static const struct {
    struct sky_text text;
    struct sky_text clean; /* base NULL: the text is valid */
} rows[] = {
    {SKY_TEXT_INIT(""), {NULL, 0}},
    {SKY_TEXT_INIT("plain"), {NULL, 0}},
    {SKY_TEXT_INIT("seventeen bytes!!"), {NULL, 0}},
    {SKY_TEXT_INIT("\x01\x7f"), {NULL, 0}},
    {SKY_TEXT_INIT("\xc2\x80 \xdf\xbf"), {NULL, 0}},
    {SKY_TEXT_INIT("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf"), {NULL, 0}},
    {SKY_TEXT_INIT("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf"), {NULL, 0}},
    {SKY_TEXT_INIT("eight by\xc3\xa9te"), {NULL, 0}},
    {SKY_TEXT_INIT("a\0b"), SKY_TEXT_INIT("ab")},
    {SKY_TEXT_INIT("\0"), SKY_TEXT_INIT("")},
    {SKY_TEXT_INIT("eight by\0"), SKY_TEXT_INIT("eight by")},
    {SKY_TEXT_INIT("seven b\0eight by"), SKY_TEXT_INIT("seven beight by")},
    {SKY_TEXT_INIT("caf\xe9"), SKY_TEXT_INIT("caf" FFFD)},
    {SKY_TEXT_INIT("eight byt\xe9s, then"), SKY_TEXT_INIT("eight byt" FFFD "s, then")},
    {SKY_TEXT_INIT("\x80"), SKY_TEXT_INIT(FFFD)},
    {SKY_TEXT_INIT("\xbf\xbf"), SKY_TEXT_INIT(FFFD FFFD)},
    {SKY_TEXT_INIT("\xc0\x80"), SKY_TEXT_INIT(FFFD FFFD)},          /* NUL, overlong */
    {SKY_TEXT_INIT("\xc1\xbf"), SKY_TEXT_INIT(FFFD FFFD)},          /* overlong */
    {SKY_TEXT_INIT("\xe0\x9f\xbf"), SKY_TEXT_INIT(FFFD FFFD FFFD)}, /* overlong */
    {SKY_TEXT_INIT("\xed\xa0\x80"), SKY_TEXT_INIT(FFFD FFFD FFFD)}, /* surrogate */
    {SKY_TEXT_INIT("\xf0\x8f\xbf\xbf"), SKY_TEXT_INIT(FFFD FFFD FFFD FFFD)},
    {SKY_TEXT_INIT("\xf4\x90\x80\x80"), SKY_TEXT_INIT(FFFD FFFD FFFD FFFD)}, /* above U+10FFFF */
    {SKY_TEXT_INIT("\xf5\x80"), SKY_TEXT_INIT(FFFD FFFD)},
    {SKY_TEXT_INIT("\xfe\xff"), SKY_TEXT_INIT(FFFD FFFD)},
    {SKY_TEXT_INIT("\xe4\xb8"), SKY_TEXT_INIT(FFFD)}, /* cut */
    {SKY_TEXT_INIT("\xe4\xb8x"), SKY_TEXT_INIT(FFFD "x")},
    {SKY_TEXT_INIT("\xf0\x9f\x98"), SKY_TEXT_INIT(FFFD)},
    {SKY_TEXT_INIT("\xf0\x9f\x98\xf0\x9f\x98\x80"), SKY_TEXT_INIT(FFFD "\xf0\x9f\x98\x80")},
    {SKY_TEXT_INIT("\xc3(\xc3\xa9"), SKY_TEXT_INIT(FFFD "(\xc3\xa9")},
    {SKY_TEXT_INIT("\xc3\0"), SKY_TEXT_INIT(FFFD)},
};

static void validity_and_mending_agree(void **state)
{
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        struct sky_text text = exact_copy(rows[i].text.base, rows[i].text.len);
        struct sky_text expected = rows[i].clean.base == NULL ? text : rows[i].clean;
        char *clean = malloc(3 * text.len);
        assert_int_equal(sky_utf8_valid(text), rows[i].clean.base == NULL);
        assert_int_equal(sky_utf8_clean(clean, text), expected.len);
        if (expected.len != 0)
            assert_memory_equal(clean, expected.base, expected.len);
        assert_true(sky_utf8_valid(sky_text(clean, expected.len)));
        free(clean);
        exact_free(text);
    }
}

/* Every pair of bytes behind seven and eight others, at the end and with room behind: the step of
 * eight bytes must not change a verdict. */
static void the_long_step_sees_what_the_short_one_sees(void **state)
{
    (void)state;

    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            char bytes[18] = "0123456789abcdefg";
            char pair[2] = {(char)first, (char)second};
            bool expected = sky_utf8_valid(sky_text(pair, 2));
            for (size_t place = 0; place <= 16; ++place) {
                memcpy(bytes, "0123456789abcdefg", 18);
                memcpy(bytes + place, pair, 2);
                if (sky_utf8_valid(sky_text(bytes, place == 16 ? 18 : 17)) != expected)
                    fail_msg("%02x %02x at %zu", first, second, place);
            }
        }
    }
}

static void a_cut_splits_no_character(void **state)
{
    static const char text[] = "a\xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80z";
    static const size_t kept[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};
    (void)state;

    for (size_t limit = 0; limit < sizeof(kept) / sizeof(kept[0]); ++limit) {
        struct sky_text copy = exact_copy(text, sizeof(text) - 1);
        struct sky_text cut = sky_utf8_cut(copy, limit);
        assert_ptr_equal(cut.base, copy.base);
        assert_int_equal(cut.len, kept[limit]);
        assert_true(sky_utf8_valid(cut));
        exact_free(copy);
    }
}

static void a_cut_of_ill_formed_text_keeps_to_the_limit(void **state)
{
    (void)state;

    assert_int_equal(sky_utf8_cut(SKY_TEXT("\x80\x80\x80\x80\x80\x80\x80"), 5).len, 5);
    assert_int_equal(sky_utf8_cut(SKY_TEXT("a\x80\x80\x80\x80\x80"), 5).len, 5);
    assert_int_equal(sky_utf8_cut(SKY_TEXT("\x80\x80"), 1).len, 1);
    assert_int_equal(sky_utf8_cut(sky_text(NULL, 0), 5).len, 0);
    assert_int_equal(sky_utf8_cut(SKY_TEXT("ab"), 0).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(validity_and_mending_agree),
        cmocka_unit_test(the_long_step_sees_what_the_short_one_sees),
        cmocka_unit_test(a_cut_splits_no_character),
        cmocka_unit_test(a_cut_of_ill_formed_text_keeps_to_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

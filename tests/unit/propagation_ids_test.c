/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "propagation/ids.h"
#include "tests/unit/exact.h"

static void start(struct sky_ids *ids, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t words[4] = {a, b, c, d};
    uint8_t entropy[32];

    memcpy(entropy, words, sizeof(entropy));
    sky_ids_init(ids, entropy);
}

/* The first numbers of the algorithm as published, from the state 1, 2, 3, 4. */
static void the_generator_is_xoshiro256_starstar(void **state)
{
    static const uint64_t published[] = {
        UINT64_C(11520),
        UINT64_C(0),
        UINT64_C(1509978240),
        UINT64_C(1215971899390074240),
        UINT64_C(1216172134540287360),
        UINT64_C(607988272756665600),
        UINT64_C(16172922978634559625),
        UINT64_C(8476171486693032832),
        UINT64_C(10595114339597558777),
        UINT64_C(2904607092377533576),
    };
    struct sky_ids ids;
    (void)state;

    start(&ids, 1, 2, 3, 4);
    for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); ++i)
        assert_true(sky_ids_random(&ids) == published[i]);
}

static void zero_entropy_still_gives_ids(void **state)
{
    struct sky_ids ids;
    struct sky_id first, second;
    (void)state;

    start(&ids, 0, 0, 0, 0);
    for (int i = 0; i < 8; ++i)
        (void)sky_ids_next(&ids);
    first = sky_ids_next(&ids);
    second = sky_ids_next(&ids);
    assert_true(first.high != 0 && first.low != 0);
    assert_true(first.high != second.high && first.low != second.low);
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct sky_id));
}

static void ids_do_not_repeat(void **state)
{
    enum { COUNT = 100000 };
    static struct sky_id seen[COUNT];
    struct sky_ids ids;
    (void)state;

    start(&ids, 0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89);
    for (size_t i = 0; i < COUNT; ++i)
        seen[i] = sky_ids_next(&ids);
    qsort(seen, COUNT, sizeof(seen[0]), compare_ids);
    for (size_t i = 1; i < COUNT; ++i)
        assert_int_not_equal(compare_ids(&seen[i - 1], &seen[i]), 0);
}

static void an_id_is_32_lower_case_hex_digits(void **state)
{
    struct sky_id id = {UINT64_C(0x0123456789abcdef), UINT64_C(0x00000000fedcba98)}, back;
    char text[SKY_ID_HEX + 1];
    (void)state;

    text[SKY_ID_HEX] = '!';
    sky_id_format(id, text);
    assert_memory_equal(text, "0123456789abcdef00000000fedcba98!", SKY_ID_HEX + 1);
    assert_true(sky_id_parse(sky_text(text, SKY_ID_HEX), &back));
    assert_true(back.high == id.high && back.low == id.low);
}

static void every_cut_and_every_foreign_byte_is_refused(void **state)
{
    static const char whole[] = "0123456789abcdef00000000fedcba98";
    struct sky_id id;
    (void)state;

    for (size_t len = 0; len < SKY_ID_HEX; ++len) {
        struct sky_text cut = exact_copy(whole, len);
        assert_false(sky_id_parse(cut, &id));
        exact_free(cut);
    }
    assert_false(sky_id_parse(SKY_TEXT("0123456789abcdef00000000fedcba980"), &id));
    for (size_t place = 0; place < SKY_ID_HEX; ++place) {
        for (int c = 0; c < 256; ++c) {
            char text[SKY_ID_HEX];
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            memcpy(text, whole, sizeof(text));
            text[place] = (char)c;
            assert_int_equal(sky_id_parse(sky_text(text, sizeof(text)), &id), digit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_is_xoshiro256_starstar),
        cmocka_unit_test(zero_entropy_still_gives_ids),
        cmocka_unit_test(ids_do_not_repeat),
        cmocka_unit_test(an_id_is_32_lower_case_hex_digits),
        cmocka_unit_test(every_cut_and_every_foreign_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

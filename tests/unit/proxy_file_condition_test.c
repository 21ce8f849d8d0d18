/* SPDX-License-Identifier: Apache-2.0 */
/* What a request wants of a file. */
#include "proxy/route/file_condition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/fuzz/corpus.h"

#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

/* A file of 100 bytes with the tag "a". */
static const struct {
    struct {
        const char *if_match, *if_none_match, *if_modified_since, *if_unmodified_since, *if_range;
        const char *range;
    } wishes;
    enum sky_file_verdict verdict;
    uint64_t first, length; /* of WHOLE and PART; 0, 0 is the whole */
} cases[] = {
    {{0}, SKY_FILE_WHOLE, 0, 0},
    {{.if_none_match = "\"a\""}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_none_match = "W/\"a\""}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_none_match = "\"b\" , W/\"c\",\"a\""}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_none_match = " * "}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_none_match = "\"b\", a, \"a, \"A\""}, SKY_FILE_WHOLE, 0, 0},
    {{.if_modified_since = SAME}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_modified_since = AFTER}, SKY_FILE_UNCHANGED, 0, 0},
    {{.if_modified_since = BEFORE}, SKY_FILE_WHOLE, 0, 0},
    {{.if_modified_since = "today"}, SKY_FILE_WHOLE, 0, 0},
    {{.if_none_match = "\"b\"", .if_modified_since = SAME}, SKY_FILE_WHOLE, 0, 0},
    {{.if_match = "\"a\""}, SKY_FILE_WHOLE, 0, 0},
    {{.if_match = "*"}, SKY_FILE_WHOLE, 0, 0},
    {{.if_match = "W/\"a\""}, SKY_FILE_FAILED, 0, 0},
    {{.if_match = "\"b\""}, SKY_FILE_FAILED, 0, 0},
    {{.if_match = "\"a\"", .if_unmodified_since = BEFORE}, SKY_FILE_WHOLE, 0, 0},
    {{.if_unmodified_since = BEFORE}, SKY_FILE_FAILED, 0, 0},
    {{.if_unmodified_since = SAME}, SKY_FILE_WHOLE, 0, 0},
    {{.if_unmodified_since = "x"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-"}, SKY_FILE_PART, 0, 100},
    {{.range = "bytes=0-0"}, SKY_FILE_PART, 0, 1},
    {{.range = "Bytes = 10-19"}, SKY_FILE_PART, 10, 10},
    {{.range = "bytes=99-"}, SKY_FILE_PART, 99, 1},
    {{.range = "bytes=90-1000"}, SKY_FILE_PART, 90, 10},
    {{.range = "bytes=-1"}, SKY_FILE_PART, 99, 1},
    {{.range = "bytes=-1000"}, SKY_FILE_PART, 0, 100},
    {{.range = "bytes=100-"}, SKY_FILE_UNSATISFIABLE, 0, 0},
    {{.range = "bytes=999999999999999999-"}, SKY_FILE_UNSATISFIABLE, 0, 0},
    {{.range = "bytes=-0"}, SKY_FILE_UNSATISFIABLE, 0, 0},
    /* malformed, of another kind, or several: as if there were none */
    {{.range = "bytes=-"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=5-4"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=a-"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=1-b"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=1"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=--1"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "lines=0-1"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=18446744073709551616-"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-1,5-6"}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-1", .if_range = "\"a\""}, SKY_FILE_PART, 0, 2},
    {{.range = "bytes=0-1", .if_range = "\"b\""}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-1", .if_range = "W/\"a\""}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-1", .if_range = SAME}, SKY_FILE_PART, 0, 2},
    {{.range = "bytes=0-1", .if_range = AFTER}, SKY_FILE_WHOLE, 0, 0},
    {{.range = "bytes=0-1", .if_none_match = "\"a\""}, SKY_FILE_UNCHANGED, 0, 0},
};

static void each_wish_gets_its_verdict(void **state)
{
    const struct sky_file_state file = {100, MODIFIED, SKY_TEXT("\"a\"")};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        struct sky_file_part part;
        struct sky_file_wishes wishes = {
            sky_text_of(cases[i].wishes.if_match),
            sky_text_of(cases[i].wishes.if_none_match),
            sky_text_of(cases[i].wishes.if_modified_since),
            sky_text_of(cases[i].wishes.if_unmodified_since),
            sky_text_of(cases[i].wishes.if_range),
            sky_text_of(cases[i].wishes.range),
        };
        if (sky_file_judge(&wishes, &file, &part) != cases[i].verdict)
            fail_msg("case %zu is judged otherwise", i);
        if (cases[i].verdict > SKY_FILE_PART)
            continue;
        assert_int_equal(part.first, cases[i].first);
        assert_int_equal(part.length, cases[i].length != 0 ? cases[i].length : 100);
    }
}

static void no_part_of_an_empty_file(void **state)
{
    static const char *const ranges[] = {"bytes=0-", "bytes=0-0", "bytes=-1"};
    const struct sky_file_state file = {0, MODIFIED, SKY_TEXT("\"a\"")};
    struct sky_file_part part;

    (void)state;
    for (size_t i = 0; i < 3; ++i) {
        struct sky_file_wishes wishes = {.range = sky_text_of(ranges[i])};
        assert_int_equal(sky_file_judge(&wishes, &file, &part), SKY_FILE_UNSATISFIABLE);
    }
}

static void corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("file_condition") >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wish_gets_its_verdict),
        cmocka_unit_test(no_part_of_an_empty_file),
        cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

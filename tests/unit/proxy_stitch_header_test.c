/* SPDX-License-Identifier: Apache-2.0 */
/* Forms that are refused are in tests/vectors/stitch.json; here is what the vectors cannot say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/stitch/stitch_header.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

#define VALUE "1;7001;120;5310;1!42;shop.caf%C3%A9;GET:/a%20b/<int:id>"

static enum sky_stitch_header_result parse(const char *value, size_t len, char *storage,
                                           struct sky_app_header *header)
{
    struct sky_text copy = exact_copy(value, len);
    enum sky_stitch_header_result result = sky_stitch_header_parse(copy, storage, header);
    exact_free(copy);
    return result;
}

static void every_field_is_read(void **state)
{
    char storage[sizeof(VALUE)];
    struct sky_app_header header;
    (void)state;
    assert_int_equal(parse(VALUE, sizeof(VALUE) - 1, storage, &header), SKY_STITCH_HEADER_OK);
    assert_int_equal(header.component, 7001);
    assert_int_equal(header.begin_us, 120);
    assert_int_equal(header.duration_us, 5310);
    assert_int_equal(header.announced, 1);
    assert_int_equal(header.lost, 42);
    assert_false(header.stream);
    assert_true(sky_text_equal(header.handler, SKY_TEXT("shop.caf\xc3\xa9")));
    assert_true(sky_text_equal(header.operation, SKY_TEXT("GET:/a b/<int:id>")));
}

static void more_is_read_in_each_form(void **state)
{
    static const struct {
        const char *more;
        uint32_t announced, lost;
        bool stream, if_broken;
    } forms[] = {
        {"0", 0, 0, false, false},
        {"1", 1, 0, false, false},
        {"64", 64, 0, false, false},
        {"+", 0, 0, true, false},
        {"?", 0, 0, true, true},
        {"0!7", 0, 7, false, false},
        {"3!999999999", 3, 999999999, false, false},
        {"+!1", 0, 1, true, false},
        {"?!1", 0, 1, true, true},
        {"0!0", 0, 0, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char value[64], storage[64];
        struct sky_app_header header;
        int len = snprintf(value, sizeof(value), "1;0;0;0;%s;;", forms[i].more);
        assert_int_equal(parse(value, (size_t)len, storage, &header), SKY_STITCH_HEADER_OK);
        assert_int_equal(header.announced, forms[i].announced);
        assert_int_equal(header.lost, forms[i].lost);
        assert_int_equal(header.stream, forms[i].stream);
        assert_int_equal(header.if_broken, forms[i].if_broken);
    }
}

/* Cut within the last field it is another, shorter value; before it nothing is accepted. */
static void a_cut_value_is_refused_or_whole(void **state)
{
    char storage[sizeof(VALUE)];
    struct sky_app_header header;
    size_t last_field = (size_t)(strrchr(VALUE, ';') + 1 - VALUE);
    (void)state;
    for (size_t len = 0; len < sizeof(VALUE) - 1; len++) {
        enum sky_stitch_header_result result = parse(VALUE, len, storage, &header);
        bool in_escape = VALUE[len - (len > 0)] == '%' || (len > 1 && VALUE[len - 2] == '%');
        if (len < last_field || in_escape)
            assert_int_equal(result, SKY_STITCH_HEADER_BAD);
        else
            assert_int_equal(result, SKY_STITCH_HEADER_OK);
    }
}

static void every_byte_value_is_told_apart(void **state)
{
    char value[] = "1;0;0;0;0;;a?b", storage[sizeof(value)];
    struct sky_app_header header;
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        value[12] = (char)byte;
        bool allowed = byte >= 0x21 && byte <= 0x7e && byte != '%' && byte != ';';
        assert_int_equal(parse(value, sizeof(value) - 1, storage, &header),
                         allowed ? SKY_STITCH_HEADER_OK : SKY_STITCH_HEADER_BAD);
    }
}

static void the_corpus_runs(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("stitch_header") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(more_is_read_in_each_form),
        cmocka_unit_test(a_cut_value_is_refused_or_whole),
        cmocka_unit_test(every_byte_value_is_told_apart),
        cmocka_unit_test(the_corpus_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "propagation/utf8.h"
#include "proxy/trace/operation.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

static void assert_name(enum sky_operation form, const char *method, const char *target,
                        const char *expected)
{
    struct sky_text copy = exact_copy(target, strlen(target));
    char *dst = malloc(SKY_OPERATION_MAX_BYTES);
    size_t len = sky_operation_name(form, sky_text_of(method), copy, dst);

    if (len != strlen(expected) || memcmp(dst, expected, len) != 0)
        fail_msg("%s became %.*s instead of %s", target, (int)len, dst, expected);
    free(dst);
    exact_free(copy);
}

static void paths_are_folded(void **state)
{
    static const char *const rows[][2] = {
        {"/", "GET:/"},
        {"", "GET:/"},
        {"?q=1", "GET:/"},
        {"*", "GET:*"},
        {"/users", "GET:/users"},
        {"/users/", "GET:/users/"},
        {"/users/42", "GET:/users/{id}"},
        {"/users/42/", "GET:/users/{id}/"},
        {"/users/42/orders/7", "GET:/users/{id}/orders/{id}"},
        {"/users/42?page=7", "GET:/users/{id}"},
        {"/0", "GET:/{id}"},
        {"//42//", "GET://{id}//"},
        {"/v1/users", "GET:/v1/users"},
        {"/api/1.0/users", "GET:/api/1.0/users"},
        {"/users/-1", "GET:/users/-1"},
        {"/x/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "GET:/x/{id}"},
        {"/x/3F2504E0-4F89-11D3-9A0C-0305E82C3301", "GET:/x/{id}"},
        {"/x/3f2504e04f8911d39a0c0305e82c3301/y", "GET:/x/{id}/y"},
        {"/x/2024-01-31", "GET:/x/{id}"},
        {"/commit/1a2b3c4d", "GET:/commit/{id}"},
        {"/commit/1a2b3c4", "GET:/commit/1a2b3c4"},   /* seven digits */
        {"/commit/deadbeef", "GET:/commit/deadbeef"}, /* a word, for all we know */
        {"/commit/deadbee1", "GET:/commit/{id}"},
        {"/commit/1a2b3c4g", "GET:/commit/1a2b3c4g"},
        {"/2024-report", "GET:/2024-report"},
        {"/t/abcdefghijklmnopqrs1", "GET:/t/{id}"},
        {"/t/abcdefghijklmnopqr1", "GET:/t/abcdefghijklmnopqr1"}, /* 19 bytes */
        {"/t/abcdefghijklmnopqrst", "GET:/t/abcdefghijklmnopqrst"},
        {"/t/how-to-do-it-right-in-2024", "GET:/t/{id}"},
        {"/t/eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "GET:/t/{id}"},
        {"/t/1.2.3.4.5.6.7.8.9.10.11", "GET:/t/1.2.3.4.5.6.7.8.9.10.11"}, /* no letter */
        /* escapes count as what they stand for */
        {"/%34%32", "GET:/{id}"},
        {"/caf%C3%A9", "GET:/caf\xc3\xa9"},
        {"/%E7%94%A8%E6%88%B7%E5%88%97%E8%A1%A8",
         "GET:/\xe7\x94\xa8\xe6\x88\xb7\xe5\x88\x97\xe8\xa1\xa8"},
        {"/a%20b", "GET:/a b"},
        {"/a%2Fb/c", "GET:/a%2Fb/c"},
        {"/a%25b", "GET:/a%25b"},
        {"/a%0Ab%00%7f", "GET:/a%0Ab%00%7F"},
        {"/a%2fb\n\x7f", "GET:/a%2Fb%0A%7F"},
        {"/100%", "GET:/100%"},
        {"/a%4", "GET:/a%4"},
        {"/a%zz", "GET:/a%zz"},
        {"/caf%E9", "GET:/caf\xef\xbf\xbd"},
        {"/caf\xe9", "GET:/caf\xef\xbf\xbd"},
        {"/caf\xc3\xa9/42", "GET:/caf\xc3\xa9/{id}"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i)
        assert_name(SKY_OPERATION_FOLDED, "GET", rows[i][0], rows[i][1]);
}

static void the_path_form_is_the_agents(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"", "/"},
        {"/users/42?page=7", "/users/42"},
        {"/x/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/x/3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
        {"/caf%C3%A9", "/caf\xc3\xa9"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i)
        assert_name(SKY_OPERATION_PATH, "POST", rows[i][0], rows[i][1]);
}

static void only_known_methods_are_named(void **state)
{
    static const char *const known[] = {"GET",     "HEAD",  "POST",    "PUT",  "DELETE",
                                        "CONNECT", "TRACE", "OPTIONS", "PATCH"};
    static const char *const others[] = {"get", "GETX", "GE", "", "PROPFIND", "X", "OTHER", "G:T"};
    (void)state;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%s:/a", known[i]);
        assert_name(SKY_OPERATION_FOLDED, known[i], "/a", expected);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); ++i)
        assert_name(SKY_OPERATION_FOLDED, others[i], "/a", "OTHER:/a");
}

/* A path of `a` up to a place, then a text. */
static size_t name_with(size_t fill, const char *text, char *dst)
{
    char path[4096] = "/";

    memset(path + 1, 'a', fill);
    strcpy(path + 1 + fill, text);
    struct sky_text copy = exact_copy(path, strlen(path));
    size_t len = sky_operation_name(SKY_OPERATION_PATH, SKY_TEXT("GET"), copy, dst);
    exact_free(copy);
    return len;
}

static void long_names_are_cut_at_a_character(void **state)
{
    char dst[SKY_OPERATION_MAX_BYTES];
    (void)state;

    assert_int_equal(name_with(SKY_OPERATION_MAX_BYTES - 1, "", dst), SKY_OPERATION_MAX_BYTES);
    assert_int_equal(name_with(SKY_OPERATION_MAX_BYTES, "", dst), SKY_OPERATION_MAX_BYTES);
    assert_int_equal(name_with(3000, "", dst), SKY_OPERATION_MAX_BYTES);
    for (size_t before = SKY_OPERATION_MAX_BYTES - 5; before <= SKY_OPERATION_MAX_BYTES; ++before) {
        static const char *const texts[] = {"%F0%9F%98%80tail", "\xf0\x9f\x98\x80tail",
                                            "\xf0\x9f\x98\x80"};
        for (size_t i = 0; i < 3; ++i) {
            size_t len = name_with(before - 1, texts[i], dst);
            assert_true(sky_utf8_valid(sky_text(dst, len)));
            if (before > SKY_OPERATION_MAX_BYTES - 4)
                assert_int_equal(len, before);
            else
                assert_true(len >= before + 4);
        }
        /* An ill-formed byte takes three. */
        size_t len = name_with(before - 1, "\xe9\xe9\xe9", dst);
        assert_int_equal(len, before + (SKY_OPERATION_MAX_BYTES - before) / 3 * 3);
    }
}

static void a_fold_behind_the_cut_changes_nothing(void **state)
{
    char target[300] = "/", expected[SKY_OPERATION_MAX_BYTES + 1] = "GET:/";
    (void)state;

    memset(target + 1, 'a', 200);
    strcpy(target + 201, "/42");
    memset(expected + 5, 'a', SKY_OPERATION_MAX_BYTES - 5);
    assert_name(SKY_OPERATION_FOLDED, "GET", target, expected);
}

static void every_cut_of_a_target_gives_a_name(void **state)
{
    static const char target[] = "/caf%C3%A9/\xe4\xb8\x96/42/3f2504e0-4f89-11d3-9a0c?q=%";
    (void)state;

    for (size_t len = 0; len < sizeof(target); ++len) {
        struct sky_text cut = exact_copy(target, len);
        char dst[SKY_OPERATION_MAX_BYTES];
        size_t n = sky_operation_name(SKY_OPERATION_FOLDED, SKY_TEXT("GET"), cut, dst);
        assert_true(n >= 5 && n <= SKY_OPERATION_MAX_BYTES);
        assert_memory_equal(dst, "GET:/", 5);
        assert_true(sky_utf8_valid(sky_text(dst, n)));
        exact_free(cut);
    }
}

static void corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("operation") >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_folded),
        cmocka_unit_test(the_path_form_is_the_agents),
        cmocka_unit_test(only_known_methods_are_named),
        cmocka_unit_test(long_names_are_cut_at_a_character),
        cmocka_unit_test(a_fold_behind_the_cut_changes_nothing),
        cmocka_unit_test(every_cut_of_a_target_gives_a_name),
        cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

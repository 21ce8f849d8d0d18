/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/trace/http_params.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"

static char password[] = "password", api_key[] = "api_key";
static char *const masked_names[] = {password, api_key};

static struct sky_strings list(char *const *items, size_t count)
{
    union {
        char *const *view;
        char **owned;
    } base = {items};
    return (struct sky_strings){.items = base.owned, .count = count};
}

static void check(const char *query, const char *form, size_t max, const char *expected)
{
    h2o_mem_pool_t pool;
    struct sky_strings masked = list(masked_names, 2);
    struct sky_text query_copy = exact_copy(query, strlen(query));
    struct sky_text form_copy = exact_copy(form, strlen(form));
    h2o_mem_init_pool(&pool);
    struct sky_text made = sky_http_params(&pool, query_copy, form_copy, &masked, max);
    if (!sky_text_equal(made, sky_text_of(expected)))
        fail_msg("%s + %s: \"%.*s\" instead of \"%s\"", query, form, (int)made.len, made.base,
                 expected);
    h2o_mem_clear_pool(&pool);
    exact_free(query_copy);
    exact_free(form_copy);
}

static void parameters_are_shown(void **state)
{
    (void)state;
    check("", "", 100, "");
    check("q=9", "", 100, "q=[9]");
    check("q=9", "a=1&b=2&a=3", 100, "q=[9]\na=[1,3]\nb=[2]");
    check("a=1", "a=2", 100, "a=[1,2]");
    check("&&a&=b&c=&", "", 100, "a=[]\n=[b]\nc=[]");
    check("n%61me=x+y%20z%", "", 100, "name=[x y z%]");
    check("a=1=2", "", 100, "a=[1=2]");
}

static void secrets_are_masked(void **state)
{
    (void)state;
    check("user=me&Password=x&old_PASSWORD2=y", "", 100,
          "user=[me]\nPassword=[***]\nold_PASSWORD2=[***]");
    check("API-Key=a&api%5fkey=b&pass=c", "", 100, "API-Key=[***]\napi_key=[***]\npass=[c]");
}

static void lengths_are_bounded(void **state)
{
    char many[16 * SKY_HTTP_PARAMS_MAX] = "";
    size_t len = 0;
    (void)state;
    check("abc=def", "", 4, "abc=...");
    check("abc=def", "", 9, "abc=[def]");
    check("abc=def", "", 8, "abc=[def...");
    check("abc=def", "", 0, "");
    for (size_t i = 0; i < SKY_HTTP_PARAMS_MAX + 10; i++)
        len += (size_t)snprintf(many + len, sizeof(many) - len, "a=%zu&", i % 10);
    h2o_mem_pool_t pool;
    struct sky_strings none = {0};
    h2o_mem_init_pool(&pool);
    struct sky_text made = sky_http_params(&pool, sky_text_of(many), SKY_TEXT(""), &none, 65536);
    assert_int_equal(made.len, strlen("a=[]") + 2 * SKY_HTTP_PARAMS_MAX - 1);
    char *form = h2o_mem_alloc_pool(&pool, SKY_HTTP_PARAMS_MAX_FORM_BYTES + 1);
    memset(form, 'x', SKY_HTTP_PARAMS_MAX_FORM_BYTES + 1);
    made = sky_http_params(&pool, SKY_TEXT(""), sky_text(form, SKY_HTTP_PARAMS_MAX_FORM_BYTES + 1),
                           &none, 100);
    assert_int_equal(made.len, 0);
    h2o_mem_clear_pool(&pool);
}

static void listed_headers_are_shown(void **state)
{
    static char accept[] = "accept", key[] = "x-api-key";
    char *const names[] = {accept, key};
    struct sky_strings listed = list(names, 2), masked = list(masked_names, 2);
    h2o_mem_pool_t pool;
    h2o_headers_t headers = {0};
    (void)state;
    h2o_mem_init_pool(&pool);
    h2o_add_header_by_str(&pool, &headers, H2O_STRLIT("accept"), 1, NULL, H2O_STRLIT("a/b"));
    h2o_add_header_by_str(&pool, &headers, H2O_STRLIT("X-Other"), 0, NULL, H2O_STRLIT("no"));
    h2o_add_header_by_str(&pool, &headers, H2O_STRLIT("X-API-Key"), 0, NULL, H2O_STRLIT("no"));
    h2o_add_header_by_str(&pool, &headers, H2O_STRLIT("accept"), 1, NULL, H2O_STRLIT("c/d"));
    struct sky_text made = sky_http_headers(&pool, &headers, &listed, &masked, 100);
    assert_true(sky_text_equal(made, SKY_TEXT("accept=[a/b,c/d]\nX-API-Key=[***]")));
    h2o_mem_clear_pool(&pool);
}

static void forms_are_known(void **state)
{
    (void)state;
    assert_true(sky_http_is_form(SKY_TEXT("application/x-www-form-urlencoded")));
    assert_true(sky_http_is_form(SKY_TEXT("Application/X-WWW-Form-Urlencoded; charset=utf-8")));
    assert_false(sky_http_is_form(SKY_TEXT("application/x-www-form-urlencoded2")));
    assert_false(sky_http_is_form(SKY_TEXT("multipart/form-data")));
    assert_false(sky_http_is_form(SKY_TEXT("")));
}

static void the_corpus_runs(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("http_params") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_shown), cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(lengths_are_bounded),  cmocka_unit_test(listed_headers_are_shown),
        cmocka_unit_test(forms_are_known),      cmocka_unit_test(the_corpus_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

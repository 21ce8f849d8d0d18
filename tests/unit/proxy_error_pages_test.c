/* SPDX-License-Identifier: Apache-2.0 */
/* Which page a status gets, and which texts and files are refused. */
#include "proxy/exchange/error_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/sky_error_pages_test.XXXXXX";

static void write_file(size_t size)
{
    FILE *file = fopen(path, "w");

    for (size_t i = 0; i < size; i++)
        fputc('x', file);
    fclose(file);
}

static const char *add(struct sky_error_page **pages, const char *status)
{
    char text[64];

    snprintf(text, sizeof(text), "%s=%s", status, path);
    return sky_error_pages_add(pages, text);
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "502",   "=/a",     "302=/a", "600=/a",
                                      "50=/a", "5x=/a", "50x=/a",  "6xx=/a", "502:/a",
                                      "502=a", "502=",  "5020=/a", "xxx=/a"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (sky_error_pages_check(bad[i]) == NULL)
            fail_msg("%s", bad[i]);
    assert_null(sky_error_pages_check("400=/a"));
    assert_null(sky_error_pages_check("599=/a"));
    assert_null(sky_error_pages_check("4xx=/a"));
    assert_null(sky_error_pages_check("5XX=/a"));
}

static void test_status_before_class(void **state)
{
    (void)state;
    struct sky_error_page *pages = NULL;

    write_file(5);
    assert_null(add(&pages, "502"));
    write_file(7);
    assert_null(add(&pages, "5xx"));
    assert_int_equal(sky_error_pages_find(pages, 502)->len, 5);
    assert_int_equal(sky_error_pages_find(pages, 503)->len, 7);
    assert_int_equal(sky_error_pages_find(pages, 599)->len, 7);
    assert_null(sky_error_pages_find(pages, 404));
    assert_null(sky_error_pages_find(NULL, 502));
    assert_memory_equal(sky_error_pages_find(pages, 502)->body, "xxxxx", 5);
    sky_error_pages_destroy(pages);
}

static void test_files(void **state)
{
    (void)state;
    struct sky_error_page *pages = NULL;

    write_file(SKY_ERROR_PAGE_MAX_BYTES);
    assert_null(add(&pages, "500"));
    write_file(SKY_ERROR_PAGE_MAX_BYTES + 1);
    assert_string_equal(add(&pages, "501"), "names a file above 1 MiB");
    write_file(0);
    assert_null(add(&pages, "502"));
    assert_int_equal(sky_error_pages_find(pages, 502)->len, 0);
    assert_non_null(sky_error_pages_add(&pages, "503=/tmp"));
    assert_non_null(sky_error_pages_add(&pages, "503=/nonexistent/page.html"));
    assert_null(sky_error_pages_find(pages, 503));
    sky_error_pages_destroy(pages);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd == -1 || close(fd) != 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_status_before_class),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}

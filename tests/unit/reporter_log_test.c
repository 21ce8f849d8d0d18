/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the log back from a pipe in place of stderr. */
#include "reporter/log.h"

#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int kept_stderr, pipe_read;

static int set_up(void **state)
{
    (void)state;
    int ends[2];

    if (pipe(ends) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
        return -1;
    kept_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    pipe_read = ends[0];
    sky_log_set_level(SKY_LOG_INFO);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    close(pipe_read);
    return 0;
}

/* What was written since the last call. */
static const char *written(void)
{
    static char text[8192];
    ssize_t length = read(pipe_read, text, sizeof(text) - 1);

    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&regex, text, 0, NULL, 0) != 0)
        fail_msg("%s does not match %s", text, pattern);
    regfree(&regex);
}

static void test_a_line(void **state)
{
    (void)state;
    sky_log(SKY_LOG_WARN, "%s is %d", "answer", 42);
    assert_matches(written(), "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                              "warn answer is 42\n$");
}

static void test_levels(void **state)
{
    (void)state;
    sky_log(SKY_LOG_DEBUG, "no");
    assert_string_equal(written(), "");
    sky_log_set_level(SKY_LOG_DEBUG);
    sky_log(SKY_LOG_DEBUG, "yes");
    assert_matches(written(), " debug yes\n$");
    sky_log_set_level(SKY_LOG_ERROR);
    sky_log(SKY_LOG_WARN, "no");
    sky_log(SKY_LOG_ERROR, "yes");
    assert_matches(written(), "^[^\n]* error yes\n$");
}

static void test_foreign_bytes_forge_no_line(void **state)
{
    (void)state;
    sky_log(SKY_LOG_INFO, "a\nb\rc\x1b[31m\x7f \xc3\xa9");
    assert_matches(written(), " info a\\\\x0ab\\\\x0dc\\\\x1b\\[31m\\\\x7f \xc3\xa9\n$");
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    char text[5000];

    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sky_log(SKY_LOG_INFO, "%s", text);
    const char *line = written();
    assert_int_equal(strlen(line), 2048);
    assert_int_equal(line[2047], '\n');

    memset(text, '\n', sizeof(text) - 1);
    sky_log(SKY_LOG_INFO, "%s", text);
    line = written();
    assert_in_range(strlen(line), 2040, 2048);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_limited(void **state)
{
    (void)state;
    struct sky_log_limit limit = {0};

    sky_log_limited(&limit, SKY_LOG_WARN, "full");
    assert_matches(written(), " warn full\n$");
    for (int i = 0; i < 5; i++)
        sky_log_limited(&limit, SKY_LOG_WARN, "full");
    assert_string_equal(written(), "");
    limit.next_ms = 0; /* as if the time had come */
    sky_log_limited(&limit, SKY_LOG_WARN, "full");
    assert_matches(written(), " warn full \\(5 more like this before\\)\n$");
    limit.next_ms = 0;
    sky_log_limited(&limit, SKY_LOG_WARN, "full");
    assert_matches(written(), " warn full\n$");
}

static void a_full_pipe_holds_nobody_up(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; ++i)
        sky_log(SKY_LOG_INFO, "line %d of more than a pipe holds", i);
    while (written()[0] != '\0')
        ;
    sky_log(SKY_LOG_INFO, "again");
    assert_matches(written(), "info again \\([0-9]+ lines lost before\\)\n$");
    sky_log(SKY_LOG_INFO, "and again");
    assert_matches(written(), "info and again\n$");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_foreign_bytes_forge_no_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_pipe_holds_nobody_up, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies in memory and in files, and what happens when there is no room. */
#include "proxy/front/body_buffer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY 8192
#define LIMIT 200000

static char bytes[LIMIT + 1];
static char directory[] = "/tmp/sky_body_buffer_test.XXXXXX";
static struct sky_body_settings settings;

/* ---- write(2) as a test wants it ---- */

static unsigned writes;

static ssize_t write_counted(int fd, const void *data, size_t size)
{
    writes++;
    return write(fd, data, size);
}

static ssize_t write_little(int fd, const void *data, size_t size)
{
    if (writes++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return write(fd, data, size < 1000 ? size : 1000);
}

static int write_error;
static unsigned writes_until_error;

static ssize_t write_failing(int fd, const void *data, size_t size)
{
    if (writes++ >= writes_until_error) {
        errno = write_error;
        return -1;
    }
    return write(fd, data, size);
}

/* ---- helpers ---- */

/* All in pieces of `piece` bytes; the first result that is not OK. */
static enum sky_body_result fill(struct sky_body_buffer *buffer, size_t size, size_t piece)
{
    enum sky_body_result result = SKY_BODY_OK;

    for (size_t at = 0; at < size && result == SKY_BODY_OK; at += piece)
        result = sky_body_buffer_append(
            buffer, sky_text(bytes + at, size - at < piece ? size - at : piece));
    return result;
}

static void check_whole(struct sky_body_buffer *buffer, size_t size)
{
    struct sky_text body;

    assert_int_equal(sky_body_buffer_finish(buffer, &body), SKY_BODY_OK);
    assert_non_null(body.base);
    assert_int_equal(body.len, size);
    assert_memory_equal(body.base, bytes, size);
}

static size_t names_in_directory(void)
{
    DIR *dir = opendir(directory);
    size_t count = 0;

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* ---- tests ---- */

static void test_sizes_and_pieces(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,    1,    4095,  4096,  4097,   8191,
                                   8192, 8193, 16384, 16385, 100000, LIMIT};
    static const size_t pieces[] = {1, 100, 4096, 5000, 8192, 8193, 65536, LIMIT};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
            for (int expected = 0; expected < 2; expected++) {
                struct sky_body_buffer buffer;
                sky_body_buffer_init(&buffer, &settings);
                if (expected)
                    assert_int_equal(sky_body_buffer_expect(&buffer, sizes[s]), SKY_BODY_OK);
                assert_int_equal(fill(&buffer, sizes[s], pieces[p]), SKY_BODY_OK);
                check_whole(&buffer, sizes[s]);
                assert_int_equal(sky_body_buffer_in_file(&buffer), sizes[s] > MEMORY);
                assert_int_equal(names_in_directory(), 0);
                sky_body_buffer_fini(&buffer);
            }
}

/* One byte at a time must not cost a system call each. */
static void test_small_pieces_are_gathered(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    settings.write = write_counted;
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 100000, 1), SKY_BODY_OK);
    check_whole(&buffer, 100000);
    assert_in_range(writes, 1, 100000 / MEMORY + 1);
    sky_body_buffer_fini(&buffer);
}

/* What a body holds of all bodies' budget: little before anything has come, and little more than
 * its file once it has one. */
static void test_large_memory(void **state)
{
    (void)state;
    struct sky_body_budget budget;
    struct sky_body_share share;
    static const size_t sizes[] = {70000, 131072, 131073, LIMIT};

    sky_body_budget_init(&budget, 1 << 30);
    sky_body_share_init(&share, &budget);
    settings.memory_bytes = 131072;
    settings.share = &share;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int expected = 0; expected < 2; expected++) {
            struct sky_body_buffer buffer;
            sky_body_buffer_init(&buffer, &settings);
            if (expected)
                assert_int_equal(sky_body_buffer_expect(&buffer, sizes[s]), SKY_BODY_OK);
            assert_in_range(buffer.charged_bytes, 0, 65536);
            assert_int_equal(fill(&buffer, sizes[s], 5000), SKY_BODY_OK);
            assert_in_range(buffer.charged_bytes, sizes[s], sizes[s] + 65536);
            check_whole(&buffer, sizes[s]);
            assert_int_equal(sky_body_buffer_in_file(&buffer), sizes[s] > 131072);
            sky_body_buffer_fini(&buffer);
        }
    sky_body_share_fini(&share);
    assert_int_equal(sky_body_budget_taken(&budget), 0);
}

static void test_short_writes(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    settings.write = write_little;
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 100000, 7000), SKY_BODY_OK);
    check_whole(&buffer, 100000);
    sky_body_buffer_fini(&buffer);
}

static void test_limit(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(sky_body_buffer_expect(&buffer, LIMIT + 1), SKY_BODY_TOO_LARGE);
    sky_body_buffer_fini(&buffer);
    for (size_t piece = 1; piece <= LIMIT + 1; piece = piece * 7 + 1) {
        sky_body_buffer_init(&buffer, &settings);
        assert_int_equal(fill(&buffer, LIMIT + 1, piece), SKY_BODY_TOO_LARGE);
        sky_body_buffer_fini(&buffer);
    }
    settings.limit_bytes = 0;
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 1, 1), SKY_BODY_TOO_LARGE);
    sky_body_buffer_fini(&buffer);
}

static void check_write_error(int error, enum sky_body_result expected)
{
    write_error = error;
    /* 100000 bytes are 12 full writes and the rest at the end */
    for (writes_until_error = 0; writes_until_error < 13; writes_until_error++) {
        struct sky_body_buffer buffer;
        struct sky_text body;
        writes = 0;
        sky_body_buffer_init(&buffer, &settings);
        enum sky_body_result result = fill(&buffer, 100000, 1024);
        if (result == SKY_BODY_OK)
            result = sky_body_buffer_finish(&buffer, &body);
        assert_int_equal(result, expected);
        sky_body_buffer_fini(&buffer);
    }
}

static void test_write_errors(void **state)
{
    (void)state;
    settings.write = write_failing;
    check_write_error(ENOSPC, SKY_BODY_NO_SPACE);
    check_write_error(EDQUOT, SKY_BODY_NO_SPACE);
    check_write_error(EIO, SKY_BODY_FAILED);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    settings.directory = "/nonexistent";
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, MEMORY, 1000), SKY_BODY_OK);
    assert_int_equal(fill(&buffer, 1, 1), SKY_BODY_FAILED);
    assert_int_equal(errno, ENOENT);
    sky_body_buffer_fini(&buffer);
}

static int open_without_tmpfile(const char *path, int flags, ...)
{
    (void)path;
    assert_int_equal(flags & O_TMPFILE, O_TMPFILE);
    errno = EOPNOTSUPP;
    return -1;
}

/* Not every file system has O_TMPFILE: then a file has a name for a moment. */
static void test_without_tmpfile(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    settings.open = open_without_tmpfile;
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 100000, 1000), SKY_BODY_OK);
    assert_int_equal(names_in_directory(), 0);
    check_whole(&buffer, 100000);
    sky_body_buffer_fini(&buffer);

    settings.directory = "/nonexistent";
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 100000, 1000), SKY_BODY_FAILED);
    assert_int_equal(errno, ENOENT);
    sky_body_buffer_fini(&buffer);
}

/* Small memory is raised to what makes writing worth a system call. */
static void test_no_memory_configured(void **state)
{
    (void)state;
    struct sky_body_buffer buffer;

    settings.memory_bytes = 0;
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, SKY_BODY_MEMORY_MIN, 10), SKY_BODY_OK);
    assert_false(sky_body_buffer_in_file(&buffer));
    assert_int_equal(fill(&buffer, 1, 1), SKY_BODY_OK);
    assert_true(sky_body_buffer_in_file(&buffer));
    sky_body_buffer_fini(&buffer);
}

static void test_fini_twice(void **state)
{
    (void)state;
    struct sky_body_buffer zeroed = {.settings = NULL}, buffer;
    struct sky_text body;

    sky_body_buffer_fini(&zeroed);
    sky_body_buffer_init(&buffer, &settings);
    assert_int_equal(fill(&buffer, 100000, 100000), SKY_BODY_OK);
    assert_int_equal(sky_body_buffer_finish(&buffer, &body), SKY_BODY_OK);
    sky_body_buffer_fini(&buffer);
    sky_body_buffer_fini(&buffer);
}

static int set_up(void **state)
{
    (void)state;
    writes = 0;
    settings = (struct sky_body_settings){LIMIT, MEMORY, directory, NULL, open, write};
    return 0;
}

static int make_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 2654435761U >> 13);
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes_and_pieces),
        TEST(test_small_pieces_are_gathered),
        TEST(test_large_memory),
        TEST(test_short_writes),
        TEST(test_limit),
        TEST(test_write_errors),
        TEST(test_no_directory),
        TEST(test_without_tmpfile),
        TEST(test_no_memory_configured),
        TEST(test_fini_twice),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which file of a folder a path names, and that none outside is found. */
#include "proxy/route/file_find.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64], path_of_folder[96];
static struct sky_folder folder;

static void put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void make_directory(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void link_to(const char *target, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int set_up(void **state)
{
    char inside[256];
    (void)state;
    strcpy(root, "/tmp/skystitch-files-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(path_of_folder, sizeof(path_of_folder), "%s/static", root);
    sky_folder_init(&folder, path_of_folder);
    put("secret", "secret");
    make_directory("static");
    make_directory("static/docs");
    make_directory("static/.git");
    put("static/a.css", "plain");
    put("static/a.css.gz", "gzipped");
    put("static/a.css.br", "brotli");
    put("static/b.css", "b");
    put("static/b.css.gz", "b gzipped");
    put("static/docs/index.html", "index");
    put("static/.env", "hidden");
    put("static/.git/config", "hidden");
    link_to("a.css", "static/inside");
    link_to("../secret", "static/outside");
    link_to("/etc/passwd", "static/absolute");
    link_to("..", "static/up");
    link_to("../b.css", "static/docs/b.css");
    link_to("loop", "static/loop");
    snprintf(inside, sizeof(inside), "%s/static/fifo", root);
    assert_int_equal(mkfifo(inside, 0644), 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    sky_folder_fini(&folder);
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static void expect(const char *path, const char *accept, const char *text, const char *coding)
{
    struct sky_file file;
    char got[32] = "";
    assert_int_equal(
        sky_file_find(&folder, sky_text_of(path), "index.html", sky_text_of(accept), &file),
        SKY_FILE_FOUND);
    assert_true(read(file.fd, got, sizeof(got) - 1) >= 0);
    close(file.fd);
    assert_string_equal(got, text);
    assert_int_equal(file.stat.st_size, strlen(text));
    assert_string_equal(file.coding != NULL ? file.coding : "", coding);
}

static void files_are_found(void **state)
{
    (void)state;
    expect("a.css", "", "plain", "");
    expect("/a.css", "", "plain", "");
    expect("docs/index.html", "", "index", "");
    expect("docs/", "", "index", "");
    expect("docs//index.html", "gzip", "index", "");
    expect("inside", "", "plain", "");
}

static void the_compressed_form_is_preferred(void **state)
{
    (void)state;
    expect("a.css", "gzip, br", "brotli", "br");
    expect("a.css", "gzip", "gzipped", "gzip");
    expect("a.css", "gzip;q=0", "plain", "");
    expect("b.css", "br, gzip", "b gzipped", "gzip");
    expect("a.css.gz", "gzip", "gzipped", ""); /* asked for as it is */
}

static void expect_none(struct sky_text path, const char *index, enum sky_file_result result,
                        int error)
{
    struct sky_file file;
    errno = 0;
    assert_int_equal(sky_file_find(&folder, path, index, SKY_TEXT("gzip, br"), &file), result);
    assert_int_equal(result == SKY_FILE_DIRECTORY ? 0 : errno, error);
}

static void nothing_else_is(void **state)
{
    static const struct {
        const char *path;
        int error;
    } missing[] = {
        {"none", ENOENT},           {"a.css/b", ENOENT},
        {"a.css/", ENOENT},         {".env", ENOENT},
        {".git/config", ENOENT},    {"docs/../.env", ENOENT},
        {"docs/.x", ENOENT},        {"./a.css", ENOENT},
        {"../secret", ENOENT},      {"outside", EXDEV},
        {"absolute", EXDEV},        {"up/secret", EXDEV},
        {"up/static/a.css", EXDEV}, {"loop", ELOOP},
        {"fifo", ENOENT},           {"", ENOENT},
    };
    char *longest = calloc(1, 5000);
    (void)state;
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
        expect_none(sky_text_of(missing[i].path), "index.html", SKY_FILE_MISSING, missing[i].error);
    expect_none(SKY_TEXT("a.css\0.png"), "index.html", SKY_FILE_MISSING, ENOENT);
    expect_none(SKY_TEXT("docs"), "index.html", SKY_FILE_DIRECTORY, 0);
    expect_none(SKY_TEXT("docs/"), NULL, SKY_FILE_MISSING, ENOENT);
    for (size_t len = 200; len < 5000; len += 100) {
        memset(longest, 'a', len);
        struct sky_file file;
        assert_int_equal(sky_file_find(&folder, sky_text(longest, len), "index.html",
                                       SKY_TEXT("gzip, br"), &file),
                         SKY_FILE_MISSING);
    }
    free(longest);
}

static void expect_broken(void)
{
    struct sky_file file;
    assert_int_equal(sky_file_find(&folder, SKY_TEXT("a.css"), NULL, SKY_TEXT(""), &file),
                     SKY_FILE_BROKEN);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(folder.fd, -1);
}

static void rename_to(const char *from, const char *to)
{
    char old[128], new[128];
    snprintf(old, sizeof(old), "%s/%s", root, from);
    snprintf(new, sizeof(new), "%s/%s", root, to);
    assert_int_equal(rename(old, new), 0);
}

/* Not a byte of the old one is served once the new one has its name. */
static void a_folder_is_replaced(void **state)
{
    (void)state;
    expect("b.css", "", "b", "");
    int kept = folder.fd;
    expect("b.css", "", "b", "");
    assert_int_equal(folder.fd, kept);
    rename_to("static", "old");
    expect_broken();
    make_directory("static");
    put("static/b.css", "new");
    expect("b.css", "", "new", "");
    rename_to("static", "newer");
    link_to("old", "static");
    expect("b.css", "", "b", "");
    link_to("newer", "next");
    rename_to("next", "static");
    expect("b.css", "", "new", "");
}

static void a_folder_that_is_not_there_is_broken(void **state)
{
    (void)state;
    rename_to("static", "away");
    expect_broken();
    expect_broken();
    rename_to("away", "static");
    expect("b.css", "", "b", "");
}

static void *rename_all_the_time(void *ended)
{
    put("one", "");
    while (!atomic_load((_Atomic bool *)ended)) {
        rename_to("one", "two");
        rename_to("two", "one");
    }
    return NULL;
}

/* The kernel gives up on a link with .. then. */
static void what_is_renamed_meanwhile_hides_nothing(void **state)
{
    _Atomic bool ended = false;
    pthread_t thread;
    size_t found = 0;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, rename_all_the_time, &ended), 0);
    for (int i = 0; i < 20000; i++) {
        struct sky_file file;
        if (sky_file_find(&folder, SKY_TEXT("docs/b.css"), NULL, SKY_TEXT(""), &file) ==
            SKY_FILE_FOUND) {
            close(file.fd);
            found++;
        }
    }
    atomic_store(&ended, true);
    pthread_join(thread, NULL);
    assert_int_equal(found, 20000);
}

static int open_count(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void no_descriptor_is_left(void **state)
{
    sky_folder_fini(&folder);
    int before = open_count();
    files_are_found(state);
    the_compressed_form_is_preferred(state);
    nothing_else_is(state);
    sky_folder_fini(&folder);
    assert_int_equal(open_count(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_found),
        cmocka_unit_test(the_compressed_form_is_preferred),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(a_folder_that_is_not_there_is_broken),
        cmocka_unit_test(no_descriptor_is_left),
        cmocka_unit_test(what_is_renamed_meanwhile_hides_nothing),
        cmocka_unit_test(a_folder_is_replaced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

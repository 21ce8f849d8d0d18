/* SPDX-License-Identifier: Apache-2.0 */
/* Files, pipes and syslog, and each way in which they fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/access/log_file.h"
#include "reporter/log.h"

static char directory[] = "/tmp/sky-log-XXXXXX";
static char path[64], other[64];
static const _Atomic int64_t endless = 0, over = 1;

static int make_directory(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    sky_log_set_level(SKY_LOG_ERROR);
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", directory);
    snprintf(other, sizeof(other), "%s/moved", directory);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

static void open_it(struct sky_log_file *file, const char *target)
{
    char error[256] = "";
    if (sky_log_file_open(file, target, error, sizeof(error)) != 0)
        fail_msg("%s", error);
}

static size_t write_text(struct sky_log_file *file, const char *first, const char *second,
                         const _Atomic int64_t *deadline_ms)
{
    char copies[2][64];
    snprintf(copies[0], sizeof(copies[0]), "%s", first);
    snprintf(copies[1], sizeof(copies[1]), "%s", second);
    struct iovec pieces[2] = {{copies[0], strlen(first)}, {copies[1], strlen(second)}};
    return sky_log_file_write(file, pieces, second[0] != '\0' ? 2 : 1, deadline_ms);
}

static const char *read_text(const char *name)
{
    static char text[65536];
    FILE *file = fopen(name, "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void appends_and_reopens(void **state)
{
    struct sky_log_file file;
    struct stat status;
    (void)state;
    for (int i = 0; i < 2; i++) {
        open_it(&file, path);
        assert_int_equal(write_text(&file, "a\nb", "c\n", &endless), 0);
        sky_log_file_close(&file);
    }
    assert_string_equal(read_text(path), "a\nbc\na\nbc\n");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0007, 0);
    open_it(&file, path);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(write_text(&file, "old\n", "", &endless), 0);
    sky_log_file_reopen(&file);
    assert_int_equal(write_text(&file, "new\n", "", &endless), 0);
    sky_log_file_close(&file);
    assert_string_equal(read_text(path), "new\n");
    assert_string_equal(read_text(other), "a\nbc\na\nbc\nold\n");
}

static void keeps_the_old_when_it_cannot_reopen(void **state)
{
    struct sky_log_file file;
    (void)state;
    open_it(&file, path);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    sky_log_file_reopen(&file);
    assert_int_equal(write_text(&file, "old\n", "", &endless), 0);
    sky_log_file_close(&file);
    assert_int_equal(rmdir(path), 0);
    assert_string_equal(read_text(other), "old\n");
}

static void says_why_it_cannot_open(void **state)
{
    struct sky_log_file file;
    char error[256];
    (void)state;
    assert_int_equal(sky_log_file_open(&file, "/nowhere/log", error, sizeof(error)), -1);
    assert_string_equal(error, "cannot open /nowhere/log: No such file or directory");
    assert_int_equal(sky_log_file_open(&file, "syslog:/nowhere/log", error, sizeof(error)), -1);
    assert_string_equal(error, "cannot open /nowhere/log: No such file or directory");
    /* a pipe that nobody reads must not hold up the start */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(sky_log_file_open(&file, path, error, sizeof(error)), -1);
}

/* The disk is full in the middle of a line: it counts as lost, and the next one stands alone. */
static void a_full_disk(void **state)
{
    struct sky_log_file file;
    struct rlimit before, small;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    open_it(&file, path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 6;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    size_t lost = write_text(&file, "one\ntwo\nth", "ree\n", &endless);
    size_t lost_after = write_text(&file, "four\n", "", &endless);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(lost, 2);
    assert_int_equal(lost_after, 1);
    assert_int_equal(write_text(&file, "five\n", "", &endless), 0);
    sky_log_file_close(&file);
    assert_string_equal(read_text(path), "one\ntw\nfive\n");
}

struct reader {
    int fd;
    size_t bytes;
    uint32_t sum;
};

static void *read_all(void *arg)
{
    struct reader *reader = arg;
    unsigned char bytes[999];
    ssize_t got;
    while ((got = read(reader->fd, bytes, sizeof(bytes))) > 0) {
        reader->bytes += (size_t)got;
        for (ssize_t i = 0; i < got; i++)
            reader->sum = reader->sum * 31 + bytes[i];
    }
    return NULL;
}

/* More than the pipe holds: it waits for the reader, and nothing is lost. */
static void a_slow_pipe(void **state)
{
    static char text[300000], copy[300000];
    struct sky_log_file file;
    struct reader reader = {0};
    uint32_t sum = 0;
    pthread_t thread;
    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = i % 100 == 99 ? '\n' : (char)('a' + i % 26);
        sum = sum * 31 + (unsigned char)text[i];
    }
    memcpy(copy, text, sizeof(text));
    assert_int_equal(mkfifo(path, 0600), 0);
    reader.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    open_it(&file, path);
    assert_int_equal(fcntl(reader.fd, F_SETFL, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
    struct iovec pieces[2] = {{copy, 100000}, {copy + 100000, 200000}};
    assert_int_equal(sky_log_file_write(&file, pieces, 2, &endless), 0);
    sky_log_file_close(&file);
    pthread_join(thread, NULL);
    close(reader.fd);
    assert_int_equal(reader.bytes, sizeof(text));
    assert_int_equal(reader.sum, sum);
}

static void a_pipe_that_nobody_reads(void **state)
{
    static char text[200000];
    struct sky_log_file file;
    (void)state;
    memset(text, '\n', sizeof(text));
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    open_it(&file, path);
    struct iovec pieces[2] = {{text, sizeof(text)}, {NULL, 0}};
    /* the deadline has passed: it gives up instead of waiting */
    size_t lost = sky_log_file_write(&file, pieces, 1, &over);
    assert_in_range(lost, 1, sizeof(text) - 1);
    close(reader);
    assert_int_equal(write_text(&file, "gone\n", "", &endless), 1); /* EPIPE */
    sky_log_file_close(&file);
}

/* Standard output may be a pipe that others share, so it blocks: only what it has room for is
 * written at once. */
static void a_standard_output_that_nobody_reads(void **state)
{
    static char text[200000];
    struct sky_log_file file;
    int ends[2], kept = dup(STDOUT_FILENO);
    (void)state;
    memset(text, '\n', sizeof(text));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    open_it(&file, SKY_LOG_FILE_STDOUT);
    struct iovec pieces[2] = {{text, sizeof(text)}, {NULL, 0}};
    alarm(30); /* where it blocks, it does so for ever */
    size_t lost = sky_log_file_write(&file, pieces, 1, &over);
    alarm(0);
    sky_log_file_close(&file);
    assert_true(dup2(kept, STDOUT_FILENO) != -1);
    close(kept);
    close(ends[0]);
    close(ends[1]);
    assert_in_range(lost, 1, sizeof(text) - 1);
}

static int listen_syslog(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    struct timeval limit = {10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* `<190>Nov 24 09:41:07 skystitch[1]: text` */
static void assert_received(int fd, const char *text)
{
    char datagram[9000], wanted[64];
    ssize_t len = recv(fd, datagram, sizeof(datagram) - 1, 0);
    assert_true(len > 0);
    datagram[len] = '\0';
    assert_memory_equal(datagram, "<190>", 5);
    int head = snprintf(wanted, sizeof(wanted), " skystitch[%d]: ", (int)getpid());
    assert_memory_equal(datagram + 5 + 15, wanted, (size_t)head);
    assert_string_equal(datagram + 5 + 15 + head, text);
}

static void each_line_is_a_datagram(void **state)
{
    struct sky_log_file file;
    char target[80];
    (void)state;
    int fd = listen_syslog();
    snprintf(target, sizeof(target), "syslog:%s", path);
    open_it(&file, target);
    assert_int_equal(write_text(&file, "one\ntw", "o\nthree\n", &endless), 0);
    assert_received(fd, "one");
    assert_received(fd, "two");
    assert_received(fd, "three");
    /* it is restarted */
    close(fd);
    unlink(path);
    assert_int_equal(write_text(&file, "lost\nlost\n", "", &endless), 2);
    fd = listen_syslog();
    assert_int_equal(write_text(&file, "four\n", "", &endless), 0);
    assert_received(fd, "four");
    close(fd);
    sky_log_file_close(&file);
}

static void a_syslog_that_takes_nothing(void **state)
{
    char text[600];
    struct sky_log_file file;
    char target[80];
    (void)state;
    int fd = listen_syslog();
    snprintf(target, sizeof(target), "syslog:%s", path);
    open_it(&file, target);
    memset(text, '\n', sizeof(text));
    struct iovec pieces[2] = {{text, sizeof(text)}, {NULL, 0}};
    size_t lost = sky_log_file_write(&file, pieces, 1, &over);
    assert_in_range(lost, 1, 600);
    assert_received(fd, "");
    close(fd);
    sky_log_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(appends_and_reopens, remove_files),
        cmocka_unit_test_teardown(keeps_the_old_when_it_cannot_reopen, remove_files),
        cmocka_unit_test_teardown(says_why_it_cannot_open, remove_files),
        cmocka_unit_test_teardown(a_full_disk, remove_files),
        cmocka_unit_test_teardown(a_slow_pipe, remove_files),
        cmocka_unit_test_teardown(a_pipe_that_nobody_reads, remove_files),
        cmocka_unit_test(a_standard_output_that_nobody_reads),
        cmocka_unit_test_teardown(each_line_is_a_datagram, remove_files),
        cmocka_unit_test_teardown(a_syslog_that_takes_nothing, remove_files),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The writer and its rings: nothing is lost without being counted, and nobody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/access/access_log.h"
#include "reporter/log.h"

#define WORKERS 3

static char directory[] = "/tmp/sky-log-XXXXXX";
static char path[64], other[64];

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

static struct sky_config config_for(char *target)
{
    struct sky_config config = {.workers = WORKERS};
    config.log.access = target;
    config.log.format = SKY_ACCESS_COMMON;
    config.log.access_buffer = 65536;
    return config;
}

static struct sky_access_log *open_log(char *target)
{
    struct sky_config config = config_for(target);
    struct sky_access_log *log;
    assert_int_equal(sky_access_log_open(&log, &config), 0);
    assert_non_null(log);
    return log;
}

static void write_number(struct sky_access_pen *pen, unsigned number, struct sky_counters *counters)
{
    char target[16];
    int len = snprintf(target, sizeof(target), "/%u", number);
    struct sky_access access = {.method = SKY_TEXT("GET"), .target = sky_text(target, (size_t)len)};
    sky_access_write(pen, &access, counters);
}

/* The numbers of the lines in a file, each counted in seen[]. Returns how many lines there are. */
static size_t read_lines(const char *name, unsigned char *seen, size_t seen_count)
{
    char line[256];
    size_t lines = 0;
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned number;
        assert_int_equal(
            sscanf(line, "- - - [01/Jan/1970:00:00:00 +0000] \"GET /%u -\" 0 0\n", &number), 1);
        assert_true(number < seen_count);
        seen[number]++;
        lines++;
    }
    fclose(file);
    return lines;
}

static void wait_lines(const char *name, size_t count)
{
    unsigned char seen[256] = {0};
    for (int i = 0; i < 10000; i++) {
        if (read_lines(name, seen, sizeof(seen)) >= count)
            return;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    fail_msg("%zu lines did not come", count);
}

static void off_is_nothing(void **state)
{
    char off[] = "off";
    struct sky_config config = config_for(off);
    struct sky_access_log *log = (struct sky_access_log *)&config;
    (void)state;
    assert_int_equal(sky_access_log_open(&log, &config), 0);
    assert_null(log);
    assert_null(sky_access_log_pen(log, 0));
    assert_int_equal(sky_access_log_lost(log), 0);
    sky_access_log_stop(log, 0);
    sky_access_log_destroy(log);
}

static void cannot_be_opened(void **state)
{
    char nowhere[] = "/nowhere/log";
    struct sky_config config = config_for(nowhere);
    struct sky_access_log *log;
    (void)state;
    sky_log_set_level(SKY_LOG_ERROR);
    assert_int_equal(sky_access_log_open(&log, &config), -1);
    assert_null(log);
}

/* A line comes out without a further one, also when the writer slept; after a reopen too. */
static void lines_come_out_by_themselves(void **state)
{
    struct sky_access_log *log = open_log(path);
    struct sky_access_pen *pen = sky_access_log_pen(log, WORKERS - 1);
    struct sky_counters counters = {0};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        write_number(pen, i, &counters);
        wait_lines(path, i + 1);
    }
    assert_int_equal(rename(path, other), 0);
    sky_access_log_reopen(log);
    for (int i = 0; i < 10000 && access(path, F_OK) != 0; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    assert_int_equal(access(path, F_OK), 0);
    write_number(pen, 3, &counters);
    wait_lines(path, 1);
    sky_access_log_stop(log, 10000);
    sky_access_log_destroy(log);
    assert_int_equal(sky_counter_read(&counters, SKY_COUNT_access_logged), 4);
}

#define LINES 20000

struct worker {
    pthread_t thread;
    struct sky_access_pen *pen;
    struct sky_counters counters;
    unsigned first;
};

static void *write_many(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; i < LINES; i++)
        write_number(worker->pen, worker->first + i, &worker->counters);
    return NULL;
}

/* Each line is in the file or was counted as dropped, whatever the threads do. */
static void all_are_accounted_for(void **state)
{
    static unsigned char seen[WORKERS * LINES];
    static struct worker workers[WORKERS];
    struct sky_access_log *log = open_log(path);
    size_t logged = 0, dropped = 0, twice = 0;
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].pen = sky_access_log_pen(log, i);
        workers[i].first = i * LINES;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, write_many, &workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        logged += sky_counter_read(&workers[i].counters, SKY_COUNT_access_logged);
        dropped += sky_counter_read(&workers[i].counters, SKY_COUNT_access_dropped);
    }
    sky_access_log_stop(log, 10000);
    assert_int_equal(sky_access_log_lost(log), 0);
    sky_access_log_destroy(log);
    assert_int_equal(logged + dropped, WORKERS * LINES);
    assert_int_equal(read_lines(path, seen, sizeof(seen)), logged);
    for (size_t i = 0; i < sizeof(seen); i++)
        twice += seen[i] > 1;
    assert_int_equal(twice, 0);
}

/* Nobody reads the pipe: the ring fills, the rest is dropped; the stop gives up what is left. */
static void a_reader_that_stands_still(void **state)
{
    struct sky_counters counters = {0};
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct sky_access_log *log = open_log(path);
    struct sky_access_pen *pen = sky_access_log_pen(log, 0);
    for (unsigned i = 0; sky_counter_read(&counters, SKY_COUNT_access_dropped) == 0; i++) {
        assert_true(i < 100000);
        write_number(pen, i, &counters);
    }
    sky_access_log_stop(log, 0);
    size_t lost = sky_access_log_lost(log), came = 0;
    char bytes[4096];
    ssize_t got;
    while ((got = read(reader, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < got; i++)
            came += bytes[i] == '\n';
    assert_int_equal(came + lost, sky_counter_read(&counters, SKY_COUNT_access_logged));
    sky_access_log_destroy(log);
    close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off_is_nothing),
        cmocka_unit_test(cannot_be_opened),
        cmocka_unit_test_teardown(lines_come_out_by_themselves, remove_files),
        cmocka_unit_test_teardown(all_are_accounted_for, remove_files),
        cmocka_unit_test_teardown(a_reader_that_stands_still, remove_files),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

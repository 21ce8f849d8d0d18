/* SPDX-License-Identifier: Apache-2.0 */
/* The reporter as a whole: its thread, rings, inbox, counters, stop. */
#include "reporter/reporter.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "reporter/log.h"
#include "tests/unit/fake_transport.h"
#include "tests/unit/numbered_packet.h"

#define SEGMENT \
    "{\"traceId\":\"t1\",\"traceSegmentId\":\"s1\",\"spans\":[{\"operationName\":\"/x\"}]}"

static const char *const backends[] = {"first:1", "second:2"};

static struct sky_reporter_options options_of(size_t worker_count)
{
    return (struct sky_reporter_options){.backends = backends,
                                         .backend_count = 2,
                                         .authentication = "",
                                         .service = "shop",
                                         .instance = "shop@host",
                                         .worker_count = worker_count,
                                         .memory_bytes = 16u << 20,
                                         .batch_bytes = 64u << 10,
                                         .batch_interval_ms = 5,
                                         .heartbeat_ms = 20,
                                         .properties_every = 3,
                                         .local_bytes = 1u << 20};
}

static struct sky_reporter *start(const struct sky_reporter_options *options,
                                  const struct sky_transport_ops *ops)
{
    struct sky_reporter *reporter = sky_reporter_new_with(options, ops);

    assert_non_null(reporter);
    assert_int_equal(sky_reporter_start(reporter), 0);
    return reporter;
}

static struct sky_reporter_counters counters_of(struct sky_reporter *reporter)
{
    struct sky_reporter_counters counters;

    sky_reporter_counters(reporter, &counters);
    return counters;
}

static void assert_sum(struct sky_reporter *reporter)
{
    struct sky_reporter_counters c = counters_of(reporter);

    assert_int_equal(c.segments, c.confirmed + c.dropped_ring + c.dropped_backlog +
                                     c.dropped_refused + c.dropped_stop + c.dropped_memory +
                                     c.backlog_segments);
}

/* Waits until so many segments are confirmed; the deadline only ends a test that has failed. */
static void wait_confirmed(struct sky_reporter *reporter, uint64_t count)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (int i = 0; i < 20000; i++) {
        if (counters_of(reporter).confirmed >= count)
            return;
        nanosleep(&moment, NULL);
    }
    fail_msg("%llu of %llu confirmed", (unsigned long long)counters_of(reporter).confirmed,
             (unsigned long long)count);
}

static void end(struct sky_reporter *reporter, uint32_t deadline_ms)
{
    sky_reporter_stop(reporter, deadline_ms);
    assert_sum(reporter);
    assert_int_equal(counters_of(reporter).backlog_segments, 0);
    sky_reporter_destroy(reporter);
}

static enum sky_outcome confirm(const struct sky_call *call)
{
    (void)call;
    return SKY_OUTCOME_CONFIRMED;
}

static enum sky_outcome be_away(const struct sky_call *call)
{
    (void)call;
    return SKY_OUTCOME_UNAVAILABLE;
}

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.decide = confirm;
    sky_log_set_level(SKY_LOG_ERROR);
    return 0;
}

static void push(struct sky_reporter *reporter, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        sky_ring_push(sky_reporter_ring(reporter, 0), numbered_packet(i, 64));
}

static void test_local_store_confirms(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    struct sky_reporter *reporter = start(&options, NULL);
    char error[64];

    assert_int_equal(
        sky_reporter_accept_json(reporter, SKY_TEXT("[" SEGMENT "]"), error, sizeof(error)), 1);
    assert_int_equal(
        sky_reporter_accept_json(reporter, SKY_TEXT("[" SEGMENT ",{}]"), error, sizeof(error)), -1);
    assert_string_equal(error, "segment 1: no traceId");
    wait_confirmed(reporter, 1);
    struct sky_reporter_counters counters = counters_of(reporter);
    assert_int_equal(counters.segments, 1);
    assert_int_equal(counters.local_segments, 1);
    assert_true(counters.local_bytes > 0);

    char *json = sky_reporter_traces_json(reporter, 10);
    assert_non_null(strstr(json, "\"traceId\":\"t1\",\"operation\":\"/x\""));
    free(json);
    json = sky_reporter_trace_json(reporter, SKY_TEXT("t1"));
    assert_non_null(strstr(json, "\"traceSegmentId\":\"s1\""));
    free(json);
    assert_null(sky_reporter_trace_json(reporter, SKY_TEXT("t2")));
    end(reporter, 0);
}

static void test_store_beside_a_backend(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.local_enabled = true;
    struct sky_reporter *reporter = start(&options, &fake_ops);

    push(reporter, 10);
    wait_confirmed(reporter, 10);
    assert_int_equal(counters_of(reporter).local_segments, 10);
    assert_true(counters_of(reporter).connected);
    end(reporter, 0);

    options.local_enabled = false;
    reporter = start(&options, &fake_ops);
    assert_null(sky_reporter_traces_json(reporter, 10));
    assert_null(sky_reporter_trace_json(reporter, SKY_TEXT("t")));
    end(reporter, 0);
}

static void test_high_water_wakes_the_thread(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.batch_interval_ms = 3600 * 1000;
    options.batch_bytes = 1000;
    struct sky_reporter *reporter = start(&options, &fake_ops);
    struct sky_ring *ring = sky_reporter_ring(reporter, 0);
    bool is_high = false;

    /* The first tick is over once a call of the start has been answered. */
    while (counters_of(reporter).calls_ok == 0)
        sched_yield();
    while (!is_high) {
        assert_true(sky_ring_push(ring, numbered_packet(0, 64)));
        is_high = sky_ring_high_water(ring);
    }
    uint64_t pushed = sky_ring_pushed(ring);
    sky_reporter_wake(reporter);
    /* All but an incomplete batch, which waits for the interval. */
    wait_confirmed(reporter, pushed - 10);
    end(reporter, 10000);
}

static void test_full_ring_is_counted(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.memory_bytes = 64u << 10;
    struct sky_reporter *reporter = sky_reporter_new_with(&options, &fake_ops);
    assert_non_null(reporter);

    push(reporter, 1000);
    uint64_t refused = counters_of(reporter).dropped_ring;
    assert_in_range(refused, 900, 990);
    assert_int_equal(sky_reporter_start(reporter), 0);
    wait_confirmed(reporter, 1000 - refused);
    assert_int_equal(counters_of(reporter).dropped_ring, refused);
    end(reporter, 0);
}

static void test_full_inbox_is_counted(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.memory_bytes = 64u << 10;
    struct sky_reporter *reporter = sky_reporter_new_with(&options, &fake_ops);
    assert_non_null(reporter);

    for (uint32_t i = 0; i < 1000; i++)
        sky_reporter_submit(reporter, numbered_packet(i, 64));
    assert_in_range(counters_of(reporter).dropped_ring, 900, 990);
    end(reporter, 0);
}

/* With a backend that is away, memory stays within its bound and the oldest goes. */
static void test_full_backlog_is_counted(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.memory_bytes = 64u << 10;
    fake.decide = be_away;
    struct sky_reporter *reporter = start(&options, &fake_ops);

    for (int round = 0; round < 200; round++) {
        push(reporter, 10);
        sky_reporter_wake(reporter);
        sched_yield();
    }
    while (counters_of(reporter).dropped_backlog == 0) {
        push(reporter, 10);
        sky_reporter_wake(reporter);
        sched_yield();
    }
    assert_true(counters_of(reporter).backlog_bytes <= options.memory_bytes);
    assert_false(counters_of(reporter).connected);
    assert_non_null(strstr(counters_of(reporter).last_error, "outcome 2"));
    end(reporter, 0);
}

static void test_stop_sends_what_is_left(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    options.batch_interval_ms = 3600 * 1000;
    struct sky_reporter *reporter = start(&options, &fake_ops);

    push(reporter, 100);
    sky_reporter_submit(reporter, numbered_packet(100, 64));
    sky_reporter_stop(reporter, 20000);
    assert_int_equal(counters_of(reporter).confirmed, 101);
    sky_reporter_submit(reporter, numbered_packet(101, 64));
    assert_int_equal(counters_of(reporter).dropped_stop, 1);
    sky_reporter_stop(reporter, 0);
    end(reporter, 0);
}

static void test_stop_counts_what_could_not_be_sent(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    fake.decide = be_away;
    struct sky_reporter *reporter = start(&options, &fake_ops);

    push(reporter, 100);
    sky_reporter_stop(reporter, 50);
    assert_int_equal(counters_of(reporter).dropped_stop, 100);
    end(reporter, 0);
}

static void test_never_started(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    struct sky_reporter *reporter = sky_reporter_new_with(&options, &fake_ops);
    assert_non_null(reporter);
    push(reporter, 3);
    sky_reporter_destroy(reporter);

    reporter = sky_reporter_new_with(&options, &fake_ops);
    assert_non_null(reporter);
    push(reporter, 3);
    sky_reporter_stop(reporter, 0);
    assert_int_equal(counters_of(reporter).dropped_stop, 3);
    end(reporter, 0);
}

/* The line of /proc/self/task/<tid>/status with this key, of the thread with this name. */
static bool find_in_status(const char *name, const char *key, char *value, size_t size)
{
    char path[300], line[256], comm[64] = "";
    DIR *tasks = opendir("/proc/self/task");
    bool is_found = false;

    for (struct dirent *task; !is_found && (task = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            if (sscanf(line, "Name: %63s", comm) == 1 || strcmp(comm, name) != 0)
                continue;
            if (strncmp(line, key, strlen(key)) == 0) {
                snprintf(value, size, "%.32s", line + strlen(key));
                is_found = true;
            }
        }
        if (status != NULL)
            fclose(status);
    }
    closedir(tasks);
    return is_found;
}

static void test_thread_has_a_name_and_no_signals(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(1);
    struct sky_reporter *reporter = start(&options, &fake_ops);
    char value[64];

    /* While a thread starts, the C library blocks all signals by itself. */
    push(reporter, 1);
    wait_confirmed(reporter, 1);
    assert_true(find_in_status("sky-reporter", "SigBlk:\t", value, sizeof(value)));
    unsigned long long blocked = strtoull(value, NULL, 16);
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
                                  SIGPIPE, SIGALRM, SIGTERM, SIGCHLD};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        assert_true(blocked >> (signals[i] - 1) & 1);
    end(reporter, 0);
}

/* Everything at once: workers that push, other threads that submit and read, a backend with moods.
 */

enum { WORKERS = 3, PUSHES = 20000 };

static _Atomic unsigned dice = 1;

static enum sky_outcome be_moody(const struct sky_call *call)
{
    unsigned roll = atomic_fetch_add(&dice, 1) * 2654435761u >> 20;

    if (call->kind == SKY_CALL_SEGMENTS && roll % 16 == 0)
        return SKY_OUTCOME_REFUSED;
    if (roll % 32 == 1)
        return SKY_OUTCOME_UNAVAILABLE;
    if (roll % 32 == 3)
        return SKY_OUTCOME_LATE;
    return SKY_OUTCOME_CONFIRMED;
}

struct worker {
    pthread_t thread;
    struct sky_reporter *reporter;
    size_t index;
};

static void *push_all(void *argument)
{
    struct worker *worker = argument;
    struct sky_ring *ring = sky_reporter_ring(worker->reporter, worker->index);

    for (uint32_t i = 0; i < PUSHES; i++) {
        sky_ring_push(ring, numbered_packet(i, 16 + i % 512));
        if (sky_ring_high_water(ring))
            sky_reporter_wake(worker->reporter);
    }
    return NULL;
}

static void *submit_all(void *argument)
{
    struct worker *worker = argument;

    for (uint32_t i = 0; i < PUSHES / 10; i++) {
        sky_reporter_submit(worker->reporter, numbered_packet(i, 16 + i % 512));
        if (i % 64 == 0) {
            counters_of(worker->reporter);
            free(sky_reporter_trace_json(worker->reporter, SKY_TEXT("t")));
        }
    }
    return NULL;
}

static void test_counters_add_up_whatever_happens(void **state)
{
    (void)state;
    struct sky_reporter_options options = options_of(WORKERS);
    struct worker workers[WORKERS + 1];

    options.memory_bytes = 2u << 20;
    options.local_enabled = true;
    fake.decide = be_moody;
    struct sky_reporter *reporter = start(&options, &fake_ops);
    for (size_t i = 0; i <= WORKERS; i++) {
        workers[i] = (struct worker){.reporter = reporter, .index = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL,
                                        i < WORKERS ? push_all : submit_all, &workers[i]),
                         0);
    }
    for (size_t i = 0; i <= WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    sky_reporter_stop(reporter, 1000);
    struct sky_reporter_counters counters = counters_of(reporter);
    assert_int_equal(counters.segments, WORKERS * PUSHES + PUSHES / 10);
    assert_true(counters.confirmed > 0);
    end(reporter, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_local_store_confirms, set_up),
        cmocka_unit_test_setup(test_store_beside_a_backend, set_up),
        cmocka_unit_test_setup(test_high_water_wakes_the_thread, set_up),
        cmocka_unit_test_setup(test_full_ring_is_counted, set_up),
        cmocka_unit_test_setup(test_full_inbox_is_counted, set_up),
        cmocka_unit_test_setup(test_full_backlog_is_counted, set_up),
        cmocka_unit_test_setup(test_stop_sends_what_is_left, set_up),
        cmocka_unit_test_setup(test_stop_counts_what_could_not_be_sent, set_up),
        cmocka_unit_test_setup(test_never_started, set_up),
        cmocka_unit_test_setup(test_thread_has_a_name_and_no_signals, set_up),
        cmocka_unit_test_setup(test_counters_add_up_whatever_happens, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

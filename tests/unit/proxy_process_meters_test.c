/* SPDX-License-Identifier: Apache-2.0 */
/* What meters are made of. */
#include "proxy/process/process_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_names_are_those_of_the_agent(void **state)
{
    const struct sky_processes_sum sum = {.with_meters = 2,
                                          .cpu = 1.5,
                                          .rss_bytes = 250,
                                          .threads = 7,
                                          .gc_collected = {1, 2, 3},
                                          .gc_ms = 4.5};
    static const struct sky_meter want[SKY_PROCESS_METER_COUNT] = {
        {"instance_pvm_total_cpu_utilization", 30},
        {"instance_pvm_process_cpu_utilization", 150},
        {"instance_pvm_total_mem_utilization", 50},
        {"instance_pvm_process_mem_utilization", 25},
        {"instance_pvm_thread_active_count", 7},
        {"instance_pvm_gc_g0", 1},
        {"instance_pvm_gc_g1", 2},
        {"instance_pvm_gc_g2", 3},
        {"instance_pvm_gc_time", 4.5},
    };
    struct sky_meter meters[SKY_PROCESS_METER_COUNT];

    (void)state;
    sky_process_meters(&sum, 30, 1000, 500, meters);
    for (size_t i = 0; i < SKY_PROCESS_METER_COUNT; i++) {
        assert_string_equal(meters[i].name, want[i].name);
        assert_true(meters[i].value == want[i].value);
    }
    sky_process_meters(&sum, 30, 0, 0, meters); /* memory unknown */
    assert_true(meters[2].value == 0 && meters[3].value == 0);
}

static void test_meters_of_the_proxy(void **state)
{
    struct sky_proxy_totals before = {.cpu_seconds = 1}, now = {.cpu_seconds = 3, .rss_bytes = 9};
    static const struct sky_meter want[SKY_PROXY_METER_COUNT] = {
        {"instance_skystitch_requests", 5},         {"instance_skystitch_errors", 1},
        {"instance_skystitch_client_gone", 0},      {"instance_skystitch_segments", 7},
        {"instance_skystitch_segments_dropped", 6}, {"instance_skystitch_cpu", 20},
        {"instance_skystitch_memory", 9},
    };
    struct sky_meter meters[SKY_PROXY_METER_COUNT];

    (void)state;
    now.workers[SKY_COUNT_requests] = 2;
    now.workers[SKY_COUNT_requests_http2] = 3;
    now.workers[SKY_COUNT_responses_5xx] = 1;
    now.reporter.segments = 7;
    now.reporter.dropped_ring = 2;
    now.reporter.dropped_backlog = 4;
    sky_proxy_meters(&now, &before, 10000, meters);
    for (size_t i = 0; i < SKY_PROXY_METER_COUNT; i++) {
        assert_string_equal(meters[i].name, want[i].name);
        assert_true(meters[i].value == want[i].value);
    }
}

static void test_host_usage_is_parsed(void **state)
{
    struct sky_cpu_ticks ticks;
    double total, used;

    (void)state;
    assert_true(sky_cpu_ticks_parse("cpu  10 1 5 100 20 0 3 1 9 9\ncpu0 1 2 3 4\n", &ticks));
    assert_int_equal(ticks.all, 140);
    assert_int_equal(ticks.busy, 20);
    assert_false(sky_cpu_ticks_parse("cpu0 1 2 3 4\n", &ticks));
    assert_false(sky_cpu_ticks_parse("", &ticks));
    assert_true(sky_memory_parse("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n",
                                 &total, &used));
    assert_true(total == 1024000 && used == 768000);
    assert_false(sky_memory_parse("MemTotal:  1000 kB\n", &total, &used));
    assert_true(sky_cpu_ticks_read(&ticks) && ticks.all > ticks.busy);
    assert_true(sky_memory_read(&total, &used) && total > used);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_those_of_the_agent),
        cmocka_unit_test(test_meters_of_the_proxy),
        cmocka_unit_test(test_host_usage_is_parsed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

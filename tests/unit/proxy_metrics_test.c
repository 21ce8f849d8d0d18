/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /metrics: its grammar, what is summed, and that no counter is missing. */
#include "proxy/admin/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/admin/metrics_reporter.h"
#include "reporter/tally.h"

static char *text_of(const struct sky_metrics *metrics)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    sky_metrics_write(metrics, out);
    fclose(out);
    return text;
}

static bool has_line(const char *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at += len) {
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return true;
    }
    return false;
}

static void test_values(void **state)
{
    struct sky_metrics metrics = {.gauges = {0}};
    struct sky_counters workers[2] = {{{0}}};
    (void)state;
    sky_count_add(&workers[0], SKY_COUNT_requests, 3);
    sky_count_add(&workers[1], SKY_COUNT_requests, 4);
    sky_count(&workers[1], SKY_COUNT_responses_5xx);
    sky_count_add(&workers[0], SKY_COUNT_segments_unpacked, UINT64_MAX);
    sky_metrics_add_worker(&metrics, &workers[0]);
    sky_metrics_add_worker(&metrics, &workers[1]);
    metrics.reporter.dropped_ring = 5;
    metrics.gauges[SKY_GAUGE_backlog_bytes] = 68719476736.0;
    metrics.gauges[SKY_GAUGE_backend_up] = NAN;
    metrics.gauges[SKY_GAUGE_build] = 1;
    metrics.gauges[SKY_GAUGE_cpu_seconds] = 1.25;
    char *text = text_of(&metrics);
    assert_true(has_line(text, "skystitch_requests_total{version=\"1\"} 7"));
    assert_true(has_line(text, "# TYPE skystitch_requests_total counter"));
    assert_true(has_line(text, "skystitch_responses_total{class=\"5xx\"} 1"));
    assert_true(has_line(text, "skystitch_responses_total{class=\"2xx\"} 0"));
    assert_true(
        has_line(text, "skystitch_segments_dropped_total{reason=\"pack\"} 18446744073709551615"));
    assert_true(has_line(text, "skystitch_segments_dropped_total{reason=\"ring_full\"} 5"));
    assert_true(has_line(text, "skystitch_backlog_bytes 68719476736"));
    assert_true(has_line(text, "# TYPE skystitch_backlog_bytes gauge"));
    assert_true(has_line(text, "skystitch_build_info{version=\"" SKY_VERSION "\"} 1"));
    assert_true(has_line(text, "process_cpu_seconds_total 1.25"));
    assert_true(has_line(text, "# TYPE process_cpu_seconds_total counter"));
    assert_null(strstr(text, "\nskystitch_backend_up")); /* absent: no backend to be up */
    free(text);
}

/* Each metric is described once and before its samples, and these stand together. */
static void test_grammar(void **state)
{
    struct sky_metrics metrics = {.gauges = {0}};
    char current[128] = "";
    size_t samples = 0;
    (void)state;
    char *text = text_of(&metrics), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        char name[128];
        if (strncmp(line, "# HELP ", 7) == 0) {
            assert_int_equal(sscanf(line + 7, "%127s", current), 1);
            assert_true(strlen(line) > 7 + strlen(current) + 1);
            char again[160];
            snprintf(again, sizeof(again), "# HELP %s ", current);
            assert_null(rest == NULL ? NULL : strstr(rest, again));
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_int_equal(sscanf(line + 7, "%127s", name), 1);
            assert_string_equal(name, current);
        } else {
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(line, "{ "), line);
            assert_string_equal(name, current);
            samples++;
        }
    }
    assert_int_equal(samples, sky_metrics_count);
    free(text);
}

/* Prometheus' rules for names, and no sample twice. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sky_metrics_count; i++) {
        const struct sky_metric *metric = &sky_metrics_table[i];
        const char *total = strstr(metric->name, "_total");
        assert_int_equal(strspn(metric->name, "abcdefghijklmnopqrstuvwxyz0123456789_"),
                         strlen(metric->name));
        if (metric->type == SKY_METRIC_COUNTER)
            assert_true(total != NULL && strlen(total) == 6);
        assert_true(metric->help[0] != '\0' && strpbrk(metric->help, "\n\\") == NULL);
        for (size_t k = 0; k < i; k++)
            assert_false(strcmp(metric->name, sky_metrics_table[k].name) == 0 &&
                         strcmp(metric->labels, sky_metrics_table[k].labels) == 0);
    }
}

static void test_process(void **state)
{
    struct sky_metrics metrics = {.gauges = {0}};
    (void)state;
    sky_metrics_add_process(&metrics);
    assert_true(metrics.gauges[SKY_GAUGE_resident_bytes] > 100 * 1024);
    assert_true(metrics.gauges[SKY_GAUGE_start_time] > 1.6e9);
    assert_true(metrics.gauges[SKY_GAUGE_cpu_seconds] >= 0);
}

static void test_reporter(void **state)
{
    struct sky_tally tally;
    struct sky_reporter_counters counters = {.last_error = "oap:11800: \"no\"\n\\"};
    char *text = NULL;
    size_t size;
    (void)state;
    sky_tally_init(&tally);
    sky_histogram_add(&tally.batch_segments, 1);
    sky_histogram_add(&tally.batch_segments, 2);
    sky_histogram_add(&tally.batch_segments, 1000000);
    sky_histogram_add(&tally.call_ms, 30);
    counters.batch_segments = sky_histogram_read(&tally.batch_segments);
    counters.call_ms = sky_histogram_read(&tally.call_ms);
    FILE *out = open_memstream(&text, &size);
    sky_metrics_write_reporter(&counters, out);
    fclose(out);
    assert_true(has_line(text, "# TYPE skystitch_backend_batch_segments histogram"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_bucket{le=\"1\"} 1"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_bucket{le=\"3\"} 2"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_bucket{le=\"300000\"} 2"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_bucket{le=\"+Inf\"} 3"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_sum 1000003"));
    assert_true(has_line(text, "skystitch_backend_batch_segments_count 3"));
    assert_true(has_line(text, "skystitch_backend_call_seconds_bucket{le=\"0.025\"} 0"));
    assert_true(has_line(text, "skystitch_backend_call_seconds_bucket{le=\"0.05\"} 1"));
    assert_true(has_line(text, "skystitch_backend_call_seconds_sum 0.03"));
    assert_true(has_line(
        text, "skystitch_backend_last_error_info{error=\"oap:11800: \\\"no\\\"?\\\\\"} 1"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_table),    cmocka_unit_test(test_process),
        cmocka_unit_test(test_reporter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

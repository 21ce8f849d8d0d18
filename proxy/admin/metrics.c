/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics and its text. */
#include "proxy/admin/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const struct sky_metric sky_metrics_table[] = {
#define SKY_GAUGE(name, metric, labels, help) \
    {metric, labels, help, SKY_METRIC_GAUGE,  \
     offsetof(struct sky_metrics, gauges) + SKY_GAUGE_##name * sizeof(double)},
#include "proxy/admin/gauges.def"
#undef SKY_GAUGE
#define SKY_COUNTER(name, metric, labels, help) \
    {metric, labels, help, SKY_METRIC_COUNTER,  \
     offsetof(struct sky_metrics, workers) + SKY_COUNT_##name * sizeof(uint64_t)},
#include "proxy/counters.def"
#undef SKY_COUNTER
#define SKY_COUNTER(name, metric, labels, help) \
    {metric, labels, help, SKY_METRIC_COUNTER, offsetof(struct sky_metrics, reporter.name)},
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
};
const size_t sky_metrics_count = sizeof(sky_metrics_table) / sizeof(sky_metrics_table[0]);

void sky_metrics_add_worker(struct sky_metrics *metrics, const struct sky_counters *counters)
{
    for (size_t i = 0; i < SKY_COUNTER_COUNT; i++)
        metrics->workers[i] += sky_counter_read(counters, (enum sky_counter)i);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Field 22 of /proc/self/stat: ticks between the boot and our start. The name in field 2 may hold
 * blanks and brackets, so fields are counted after the last bracket. */
static double start_time(void)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    unsigned long long ticks;
    const char *at = strrchr(text, ')');
    if (at == NULL || sscanf(at + 1,
                             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                             "%*d %*d %*d %llu",
                             &ticks) != 1)
        return 0;
    struct timespec now, since_boot;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    return (double)(now.tv_sec - since_boot.tv_sec) +
           (double)(now.tv_nsec - since_boot.tv_nsec) / 1e9 +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void sky_metrics_add_process(struct sky_metrics *metrics)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fscanf(file, "%*u %llu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    metrics->gauges[SKY_GAUGE_build] = 1;
    metrics->gauges[SKY_GAUGE_resident_bytes] = (double)pages * (double)sysconf(_SC_PAGESIZE);
    metrics->gauges[SKY_GAUGE_cpu_seconds] =
        seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    metrics->gauges[SKY_GAUGE_start_time] = start_time();
}

static bool same_metric(size_t a, size_t b)
{
    return strcmp(sky_metrics_table[a].name, sky_metrics_table[b].name) == 0;
}

static bool is_first(size_t row)
{
    for (size_t i = 0; i < row; i++) {
        if (same_metric(i, row))
            return false;
    }
    return true;
}

/* Rows of one metric may each have a help of their own, told by their labels. */
static void write_help(size_t first, FILE *out)
{
    const struct sky_metric *metric = &sky_metrics_table[first];
    bool differ = false;
    for (size_t i = first + 1; i < sky_metrics_count; i++)
        differ |= same_metric(first, i) && strcmp(sky_metrics_table[i].help, metric->help) != 0;
    fprintf(out, "# HELP %s", metric->name);
    for (size_t i = first; i < sky_metrics_count; i++) {
        if (!same_metric(first, i) || (!differ && i != first))
            continue;
        fprintf(out, differ ? " %s: %s" : "%s %s", differ ? sky_metrics_table[i].labels : "",
                sky_metrics_table[i].help);
    }
    /* the suffix is what a counter is known by: process_cpu_seconds_total is no gauge of ours */
    const char *suffix = strrchr(metric->name, '_');
    fprintf(out, "\n# TYPE %s %s\n", metric->name,
            suffix != NULL && strcmp(suffix, "_total") == 0 ? "counter" : "gauge");
}

static void write_sample(const struct sky_metrics *metrics, size_t row, FILE *out)
{
    const struct sky_metric *metric = &sky_metrics_table[row];
    const char *value = (const char *)metrics + metric->offset;
    if (metric->labels[0] != '\0')
        fprintf(out, "%s{%s} ", metric->name, metric->labels);
    else
        fprintf(out, "%s ", metric->name);
    if (metric->type == SKY_METRIC_COUNTER) {
        uint64_t count;
        memcpy(&count, value, sizeof(count));
        fprintf(out, "%" PRIu64 "\n", count);
    } else {
        double gauge;
        memcpy(&gauge, value, sizeof(gauge));
        fprintf(out, "%.15g\n", gauge);
    }
}

static bool is_absent(const struct sky_metrics *metrics, size_t row)
{
    double gauge;
    memcpy(&gauge, (const char *)metrics + sky_metrics_table[row].offset, sizeof(gauge));
    return sky_metrics_table[row].type == SKY_METRIC_GAUGE && isnan(gauge);
}

void sky_metrics_write(const struct sky_metrics *metrics, FILE *out)
{
    for (size_t first = 0; first < sky_metrics_count; first++) {
        if (!is_first(first) || is_absent(metrics, first))
            continue;
        write_help(first, out);
        for (size_t i = first; i < sky_metrics_count; i++) {
            if (same_metric(first, i))
                write_sample(metrics, i, out);
        }
    }
}

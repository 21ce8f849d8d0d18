/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/process/process_report.h"

#include <time.h>

#include "proxy/admin/metrics.h"

/* A word comes with a request, once in twenty seconds; a process that said nothing for longer had
 * no request. */
#define MIN_FRESH_MS 60000
#define FRESH_INTERVALS 3

void sky_process_report_init(struct sky_process_report *report, int64_t now_ms)
{
    report->last_ms = now_ms;
    report->next_ms = now_ms + report->config->reporter.meter_interval_ms;
    if (!sky_cpu_ticks_read(&report->ticks))
        report->ticks = (struct sky_cpu_ticks){0};
}

static double percent(double part, double whole)
{
    return whole > 0 ? part / whole * 100 : 0;
}

void sky_process_meters(const struct sky_processes_sum *sum, double total_cpu, double memory_total,
                        double memory_used, struct sky_meter meters[SKY_PROCESS_METER_COUNT])
{
    const struct sky_meter made[SKY_PROCESS_METER_COUNT] = {
        {"instance_pvm_total_cpu_utilization", total_cpu},
        {"instance_pvm_process_cpu_utilization", sum->cpu * 100},
        {"instance_pvm_total_mem_utilization", percent(memory_used, memory_total)},
        {"instance_pvm_process_mem_utilization", percent(sum->rss_bytes, memory_total)},
        {"instance_pvm_thread_active_count", sum->threads},
        {"instance_pvm_gc_g0", sum->gc_collected[0]},
        {"instance_pvm_gc_g1", sum->gc_collected[1]},
        {"instance_pvm_gc_g2", sum->gc_collected[2]},
        {"instance_pvm_gc_time", sum->gc_ms},
    };

    for (size_t i = 0; i < SKY_PROCESS_METER_COUNT; i++)
        meters[i] = made[i];
}

/* Of all CPUs, since the last call. */
static double total_cpu(struct sky_process_report *report)
{
    struct sky_cpu_ticks now;

    if (!sky_cpu_ticks_read(&now) || now.all <= report->ticks.all)
        return 0;
    double all = (double)(now.all - report->ticks.all);
    double busy = now.busy > report->ticks.busy ? (double)(now.busy - report->ticks.busy) : 0;
    report->ticks = now;
    return percent(busy, all);
}

static int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void offer(struct sky_reporter *reporter, struct sky_packet *packet)
{
    if (packet != NULL)
        sky_reporter_offer(reporter, packet);
}

/* Adds the values of the app's processes, when there are any. */
static size_t add_process_meters(struct sky_process_report *report, int64_t now_ms,
                                 struct sky_meter *meters)
{
    int64_t interval_ms = report->config->reporter.meter_interval_ms;
    int64_t fresh_ms = FRESH_INTERVALS * interval_ms;
    struct sky_processes_sum sum;
    double memory_total = 0, memory_used = 0, cpu = total_cpu(report);

    sky_processes_sum(report->processes, now_ms, fresh_ms > MIN_FRESH_MS ? fresh_ms : MIN_FRESH_MS,
                      &sum);
    if (sum.with_meters == 0)
        return 0;
    if (!sky_memory_read(&memory_total, &memory_used))
        memory_total = memory_used = 0;
    sky_process_meters(&sum, cpu, memory_total, memory_used, meters);
    return SKY_PROCESS_METER_COUNT;
}

static size_t add_proxy_meters(struct sky_process_report *report, struct sky_reporter *reporter,
                               int64_t now_ms, struct sky_meter *meters)
{
    struct sky_metrics process = {.gauges = {0}};
    struct sky_proxy_totals now = {.cpu_seconds = 0};

    if (!report->config->reporter.proxy_meters)
        return 0;
    report->sum_workers(report->sum_data, now.workers);
    sky_reporter_counters(reporter, &now.reporter);
    sky_metrics_add_process(&process);
    now.cpu_seconds = process.gauges[SKY_GAUGE_cpu_seconds];
    now.rss_bytes = process.gauges[SKY_GAUGE_resident_bytes];
    sky_proxy_meters(&now, &report->totals, now_ms - report->last_ms, meters);
    report->totals = now;
    return SKY_PROXY_METER_COUNT;
}

static void report_meters(struct sky_process_report *report, struct sky_reporter *reporter,
                          int64_t now_ms)
{
    const struct sky_reported_by by = {sky_text_of(report->config->agent.service),
                                       sky_text_of(report->config->agent.instance)};
    struct sky_meter meters[SKY_PROCESS_METER_COUNT + SKY_PROXY_METER_COUNT];
    size_t count = add_process_meters(report, now_ms, meters);

    count += add_proxy_meters(report, reporter, now_ms, meters + count);
    report->last_ms = now_ms;
    if (count > 0)
        offer(reporter, sky_meters_pack(&by, wall_ms(), meters, count));
}

void sky_process_report_tick(void *data, struct sky_reporter *reporter)
{
    struct sky_process_report *report = data;
    int64_t now_ms = sky_processes_now_ms();

    offer(reporter, sky_processes_properties(report->processes, report->identity));
    if (now_ms < report->next_ms || !sky_reporter_takes(reporter, SKY_PACKET_METERS))
        return;
    report->next_ms = now_ms + report->config->reporter.meter_interval_ms;
    report_meters(report, reporter, now_ms);
}

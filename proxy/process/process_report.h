/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the reporter now and then what the app's processes come to: their meters as those of one
 * instance, and its properties when they have changed. Reporter thread only, but for init. */
#ifndef SKY_PROXY_PROCESS_PROCESS_REPORT_H
#define SKY_PROXY_PROCESS_PROCESS_REPORT_H

#include "proxy/process/host_usage.h"
#include "proxy/process/processes.h"
#include "proxy/process/proxy_meters.h"

#define SKY_PROCESS_METER_COUNT 9

struct sky_process_report {
    /* Borrowed. */
    const struct sky_config *config;
    const struct sky_identity *identity;
    struct sky_processes *processes;
    /* Sums the workers' counters up, for reporter.proxy_meters. */
    void (*sum_workers)(const void *data, uint64_t sum[SKY_COUNTER_COUNT]);
    const void *sum_data;
    int64_t last_ms, next_ms; /* when meters were reported, and are due */
    struct sky_cpu_ticks ticks;
    struct sky_proxy_totals totals;
};

/* sky_process_report_init: the fields above `next_ms` are set by the caller before. */
void sky_process_report_init(struct sky_process_report *report, int64_t now_ms);

/* sky_process_report_tick: for on_tick of the reporter; data is the report. */
void sky_process_report_tick(void *data, struct sky_reporter *reporter);

/* sky_process_meters: the values in the names of the Python agent. total_cpu: of the machine, in
 * percent; memory in bytes, 0 when unknown. */
void sky_process_meters(const struct sky_processes_sum *sum, double total_cpu, double memory_total,
                        double memory_used, struct sky_meter meters[SKY_PROCESS_METER_COUNT]);

#endif

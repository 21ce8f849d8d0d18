/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/process/proxy_meters.h"

static double segments_dropped(const struct sky_reporter_counters *reporter)
{
    return (double)(reporter->dropped_ring + reporter->dropped_backlog + reporter->dropped_refused +
                    reporter->dropped_stop + reporter->dropped_memory + reporter->dropped_unclear +
                    reporter->dropped_spool_full + reporter->dropped_spool_damaged);
}

void sky_proxy_meters(const struct sky_proxy_totals *now, const struct sky_proxy_totals *before,
                      int64_t elapsed_ms, struct sky_meter meters[SKY_PROXY_METER_COUNT])
{
    const uint64_t *count = now->workers;
    double cpu_s = now->cpu_seconds - before->cpu_seconds;
    const struct sky_meter made[SKY_PROXY_METER_COUNT] = {
        {"instance_skystitch_requests",
         (double)(count[SKY_COUNT_requests] + count[SKY_COUNT_requests_http2])},
        {"instance_skystitch_errors", (double)count[SKY_COUNT_responses_5xx]},
        {"instance_skystitch_client_gone", (double)count[SKY_COUNT_client_gone]},
        {"instance_skystitch_segments", (double)now->reporter.segments},
        {"instance_skystitch_segments_dropped", segments_dropped(&now->reporter)},
        {"instance_skystitch_cpu", elapsed_ms > 0 ? cpu_s / (double)elapsed_ms * 100000 : 0},
        {"instance_skystitch_memory", now->rss_bytes},
    };

    for (size_t i = 0; i < SKY_PROXY_METER_COUNT; i++)
        meters[i] = made[i];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy itself does, as meters: reporter.proxy_meters. Reporter thread only. */
#ifndef SKY_PROXY_PROCESS_PROXY_METERS_H
#define SKY_PROXY_PROCESS_PROXY_METERS_H

#include "proxy/counters.h"
#include "reporter/records.h"
#include "reporter/reporter.h"

#define SKY_PROXY_METER_COUNT 7

/* What they are made of. */
struct sky_proxy_totals {
    uint64_t workers[SKY_COUNTER_COUNT]; /* summed over them */
    struct sky_reporter_counters reporter;
    double cpu_seconds; /* since the start */
    double rss_bytes;
};

/* sky_proxy_meters: names and values. before: those of the last time, for the CPU's use in between;
 * elapsed_ms: the time in between. */
void sky_proxy_meters(const struct sky_proxy_totals *now, const struct sky_proxy_totals *before,
                      int64_t elapsed_ms, struct sky_meter meters[SKY_PROXY_METER_COUNT]);

#endif

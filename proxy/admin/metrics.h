/* SPDX-License-Identifier: Apache-2.0 */
/* All counters and gauges of the process as one table, and their text for Prometheus. */
#ifndef SKY_PROXY_ADMIN_METRICS_H
#define SKY_PROXY_ADMIN_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/counters.h"
#include "reporter/reporter.h"

enum sky_gauge {
#define SKY_GAUGE(name, metric, labels, help) SKY_GAUGE_##name,
#include "proxy/admin/gauges.def"
#undef SKY_GAUGE
    SKY_GAUGE_COUNT
};

/* Values of one moment. */
struct sky_metrics {
    uint64_t workers[SKY_COUNTER_COUNT]; /* summed over them */
    struct sky_reporter_counters reporter;
    double gauges[SKY_GAUGE_COUNT]; /* NAN: left out */
};

/* A row of the table: one sample. Rows of one metric need not stand together. */
struct sky_metric {
    const char *name, *labels, *help;
    enum { SKY_METRIC_COUNTER, SKY_METRIC_GAUGE } type;
    size_t offset; /* in struct sky_metrics: a uint64_t of a counter, a double of a gauge */
};

extern const struct sky_metric sky_metrics_table[];
extern const size_t sky_metrics_count;

/* sky_metrics_add_worker: adds one worker's counters. Any thread. */
void sky_metrics_add_worker(struct sky_metrics *metrics, const struct sky_counters *counters);

/* sky_metrics_add_process: fills the gauges that the kernel knows. */
void sky_metrics_add_process(struct sky_metrics *metrics);

/* sky_metrics_write: the text format 0.0.4; HELP and TYPE once a metric, its samples together. */
void sky_metrics_write(const struct sky_metrics *metrics, FILE *out);

#endif

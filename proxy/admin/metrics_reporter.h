/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of calls to backends and is no single number: how large and how slow they are, and
 * what went wrong last. */
#ifndef SKY_PROXY_ADMIN_METRICS_REPORTER_H
#define SKY_PROXY_ADMIN_METRICS_REPORTER_H

#include <stdio.h>

#include "reporter/reporter.h"

/* sky_metrics_write_reporter: in the text format 0.0.4, as sky_metrics_write. */
void sky_metrics_write_reporter(const struct sky_reporter_counters *counters, FILE *out);

/* sky_metrics_reporter_reference: a row of a Markdown table for each of these metrics. */
void sky_metrics_reporter_reference(FILE *out);

#endif

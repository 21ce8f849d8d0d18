/* SPDX-License-Identifier: Apache-2.0 */
/* The state of each upstream's servers, for /metrics. */
#ifndef SKY_PROXY_ADMIN_METRICS_UPSTREAM_H
#define SKY_PROXY_ADMIN_METRICS_UPSTREAM_H

#include <stdio.h>

#include "proxy/back/roster.h"

/* sky_metrics_write_upstreams: in the text format 0.0.4, as sky_metrics_write. Any thread. */
void sky_metrics_write_upstreams(const struct sky_fleet *fleet, FILE *out);

/* sky_metrics_upstream_reference: a row of a Markdown table for each of these metrics. */
void sky_metrics_upstream_reference(FILE *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Two histograms and a text. */
#include "proxy/admin/metrics_reporter.h"

#include <inttypes.h>

static const char batch_name[] = "skystitch_backend_batch_segments";
static const char batch_help[] = "Segments in a call to a backend, whatever became of it.";
static const char call_name[] = "skystitch_backend_call_seconds";
static const char call_help[] = "From the begin of such a call to its answer, or its failure.";
static const char error_name[] = "skystitch_backend_last_error_info";
static const char error_help[] =
    "Always 1; the label is what failed last, however long ago. Not shown when nothing has.";

/* `unit`: what one of the histogram's values is in the metric's unit. */
static void write_histogram(const char *name, const char *help, double unit,
                            const struct sky_histogram_values *values, FILE *out)
{
    uint64_t count = 0;

    fprintf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (size_t i = 0; i < SKY_HISTOGRAM_BOUNDS; i++) {
        count += values->counts[i];
        fprintf(out, "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name,
                (double)values->bounds[i] * unit, count);
    }
    count += values->counts[SKY_HISTOGRAM_BOUNDS];
    fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
    fprintf(out, "%s_sum %.15g\n%s_count %" PRIu64 "\n", name, (double)values->sum * unit, name,
            count);
}

/* The text is of a backend or a library. */
static void write_error(const char *error, FILE *out)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s{error=\"", error_name, error_help, error_name,
            error_name);
    for (; *error != '\0'; error++) {
        if (*error == '"' || *error == '\\')
            fputc('\\', out);
        fputc((unsigned char)*error < 0x20 || (unsigned char)*error > 0x7e ? '?' : *error, out);
    }
    fputs("\"} 1\n", out);
}

void sky_metrics_write_reporter(const struct sky_reporter_counters *counters, FILE *out)
{
    write_histogram(batch_name, batch_help, 1, &counters->batch_segments, out);
    write_histogram(call_name, call_help, 0.001, &counters->call_ms, out);
    if (counters->last_error[0] != '\0')
        write_error(counters->last_error, out);
}

void sky_metrics_reporter_reference(FILE *out)
{
    fprintf(out, "| `%s` | `le` | %s |\n", batch_name, batch_help);
    fprintf(out, "| `%s` | `le` | %s |\n", call_name, call_help);
    fprintf(out, "| `%s` | `error` | %s |\n", error_name, error_help);
}

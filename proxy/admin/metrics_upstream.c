/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/admin/metrics_upstream.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t up_of(const struct sky_roster *roster, const struct sky_member *member)
{
    if (member->unwell)
        return 0;
    for (size_t i = 0; i < roster->worker_count; ++i)
        if (member->shares[i].down_until_ms != 0)
            return 0;
    return 1;
}

static uint64_t active_of(const struct sky_roster *roster, const struct sky_member *member)
{
    uint64_t active = 0;

    for (size_t i = 0; i < roster->worker_count; ++i)
        active += member->shares[i].active;
    return active;
}

static const struct metric {
    const char *name, *help;
    uint64_t (*of)(const struct sky_roster *roster, const struct sky_member *member);
} metrics[] = {
    {"skystitch_upstream_server_up",
     "0 while the server is passed over: by its health check, or by a worker after max_fails.",
     up_of},
    {"skystitch_upstream_server_active", "Requests that the server has.", active_of},
};
#define METRIC_COUNT (sizeof(metrics) / sizeof(metrics[0]))

static const char queue_name[] = "skystitch_upstream_queue";
static const char queue_help[] = "Requests that wait for a server with a place.";

static void write_head(const char *name, const char *help, FILE *out)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* The path of a unix socket may hold what ends a label. */
static void write_escaped(const char *text, FILE *out)
{
    for (; *text != '\0'; ++text) {
        if (*text == '\\' || *text == '"')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void write_members(const struct metric *metric, struct sky_roster *roster, FILE *out)
{
    size_t count;
    uint64_t version;
    struct sky_member **members = sky_roster_copy(roster, &count, &version);

    for (size_t i = 0; i < count; ++i) {
        fprintf(out, "%s{upstream=\"%s\",server=\"", metric->name, roster->config->name);
        write_escaped(members[i]->label, out);
        fprintf(out, "\"} %" PRIu64 "\n", metric->of(roster, members[i]));
        sky_member_release(members[i]);
    }
    free(members);
}

void sky_metrics_write_upstreams(const struct sky_fleet *fleet, FILE *out)
{
    for (size_t k = 0; k < METRIC_COUNT; ++k) {
        write_head(metrics[k].name, metrics[k].help, out);
        for (size_t i = 0; i < fleet->count; ++i)
            write_members(&metrics[k], fleet->rosters[i], out);
    }
    write_head(queue_name, queue_help, out);
    for (size_t i = 0; i < fleet->count; ++i)
        fprintf(out, "%s{upstream=\"%s\"} %" PRIu32 "\n", queue_name,
                fleet->rosters[i]->config->name, fleet->rosters[i]->waiting);
}

void sky_metrics_upstream_reference(FILE *out)
{
    for (size_t k = 0; k < METRIC_COUNT; ++k)
        fprintf(out, "| `%s` | `upstream`, `server` | %s |\n", metrics[k].name, metrics[k].help);
    fprintf(out, "| `%s` | `upstream` | %s |\n", queue_name, queue_help);
}

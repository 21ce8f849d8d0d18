/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_change.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_print.h"
#include "proxy/config/config_upstream.h"

/* Options and sections. What is made of them lives as long as the process: threads, the reporter
 * with what it holds, the helpers' channel, and the names under which segments are reported. */
static const char *const lasting[] = {
    "admin",         "agent.instance", "agent.mode", "agent.namespace", "agent.properties",
    "agent.service", "local",          "reporter",   "stitch",          "rate_limit.addresses",
    "group",         "pid_file",       "user",       "workers",
};

static bool is_below(const char *path, const char *section)
{
    size_t len = strlen(section);
    return strncmp(path, section, len) == 0 && (path[len] == '\0' || path[len] == '.');
}

bool sky_option_needs_restart(const char *path)
{
    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
        if (is_below(path, lasting[i]))
            return true;
    return false;
}

static bool same_strings(const struct sky_strings *a, const struct sky_strings *b)
{
    for (size_t i = 0; i < a->count && a->count == b->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->count == b->count;
}

/* The written form of a secret says nothing of it. */
static bool is_same(const struct sky_option *option, const struct sky_config *a,
                    const struct sky_config *b)
{
    const void *one = sky_option_field(option, a), *other = sky_option_field(option, b);
    if (option->type->shape == SKY_OPTION_LIST)
        return same_strings(one, other);
    if (option->type->secret)
        return strcmp(*(char *const *)one, *(char *const *)other) == 0;
    json_t *shown = option->type->write(option, one), *wanted = option->type->write(option, other);
    bool same = json_equal(shown, wanted) != 0;
    json_decref(shown);
    json_decref(wanted);
    return same;
}

void sky_config_check_restart(const struct sky_config *running, const struct sky_config *next,
                              struct sky_problems *problems)
{
    for (size_t i = 0; i < sky_option_count; i++) {
        const struct sky_option *option = &sky_options[i];
        if (!sky_option_needs_restart(option->path) || is_same(option, running, next))
            continue;
        sky_problem_report(problems,
                           &(struct sky_problem){.option = option->path,
                                                 .what = "has changed, which takes a restart"});
    }
}

size_t *sky_config_same_upstreams(const struct sky_config *running, const struct sky_config *next)
{
    json_t *before = sky_config_tree(running), *after = sky_config_tree(next);
    bool same_times =
        json_equal(json_object_get(before, "timeouts"), json_object_get(after, "timeouts")) != 0;
    size_t *same = malloc((next->upstream_count + 1) * sizeof(*same)); /* never of 0 bytes */

    for (size_t i = 0; same != NULL && i < next->upstream_count; i++) {
        const char *name = next->upstreams[i].name;
        same[i] = SIZE_MAX;
        /* the files of TLS may be others now */
        bool same_files = !sky_config_upstream_tls(&next->upstreams[i]);
        for (size_t k = 0; same_times && same_files && k < running->upstream_count; k++)
            if (strcmp(running->upstreams[k].name, name) == 0 &&
                json_equal(json_object_get(json_object_get(before, "upstreams"), name),
                           json_object_get(json_object_get(after, "upstreams"), name)) != 0)
                same[i] = k;
        if (sky_config_upstream_tls(&next->upstreams[i]))
            same[i] = SIZE_MAX; /* its files may have changed */
    }
    json_decref(before);
    json_decref(after);
    return same;
}

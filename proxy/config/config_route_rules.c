/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_route_rules.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/config/config_chars.h"
#include "proxy/config/config_member.h"
#include "proxy/config/config_route_edge.h"
#include "proxy/config/config_route_fields.h"
#include "proxy/config/config_route_sampling.h"
#include "proxy/route/route_answer.h"

/* Values of a route that are read as options are; the offset is in the rules. */
static const struct sky_option options[] = {
    {"routes.strip_prefix", &sky_option_type_onoff, offsetof(struct sky_route_rules, strip_prefix),
     0, 0, NULL, NULL, NULL},
    {"routes.traced", &sky_option_type_onoff, offsetof(struct sky_route_rules, traced), 0, 0, NULL,
     NULL, NULL},
    {"routes.limits.body", &sky_option_type_size, offsetof(struct sky_route_rules, body), 0,
     1099511627776, NULL, NULL, NULL},
    {"routes.timeouts.response", &sky_option_type_duration,
     offsetof(struct sky_route_rules, response_ms), 100, 86400000, NULL, NULL, NULL},
    {"routes.return.status", &sky_option_type_count,
     offsetof(struct sky_route_rules, answer.status), 200, 599, NULL, NULL, NULL},
    {"routes.static", &sky_option_type_directory, offsetof(struct sky_route_rules, files.folder), 0,
     0, NULL, NULL, NULL},
    {"routes.index", &sky_option_type_text, offsetof(struct sky_route_rules, files.index), 1, 200,
     NULL, NULL, NULL},
    {"routes.cache_control", &sky_option_type_text,
     offsetof(struct sky_route_rules, files.cache_control), 1, 200, NULL, NULL, NULL},
};
enum {
    STRIP_PREFIX,
    TRACED,
    LIMITS_BODY,
    TIMEOUTS_RESPONSE,
    RETURN_STATUS,
    STATIC,
    INDEX,
    CACHE_CONTROL
};

_Static_assert(sizeof(((struct sky_route_rules *)0)->answer.status) == sizeof(uint32_t),
               "a count is stored as uint32_t");

static void report(const struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                   const char *value, const char *what, const char *accepted)
{
    sky_yaml_report(
        yaml, node,
        (struct sky_problem){.option = option, .value = value, .what = what, .accepted = accepted});
}

/* A section with the one option. */
static void read_section(struct sky_yaml *yaml, const struct sky_option *option, const char *path,
                         const yaml_node_t *node, struct sky_route_rules *rules)
{
    const char *name = strrchr(option->path, '.') + 1;
    struct sky_yaml_member member = {.name = name, .required = true};
    if (sky_yaml_read_members(yaml, node, path, &member, 1, name))
        sky_config_read_member(yaml, option, NULL, member.value, rules);
}

static char *copy(const struct sky_yaml *yaml, const yaml_node_t *node, const char *text)
{
    char *made = strdup(text);
    if (made == NULL)
        report(yaml, node, NULL, NULL, "memory is out", NULL);
    return made;
}

static bool is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void read_location(struct sky_yaml *yaml, const yaml_node_t *node, const char *path,
                          const char *location, struct sky_route_rules *rules)
{
    const char *problem = sky_location_check(location);
    if (problem != NULL)
        report(yaml, node, path, location, problem,
               "a URL or a path, with $host, $path, $query and $rest");
    else
        rules->answer.location = copy(yaml, node, location);
}

/* https://host alone keeps path and query: that is what is meant by it. */
static void read_redirect(struct sky_yaml *yaml, const yaml_node_t *node,
                          struct sky_route_rules *rules)
{
    static const char path[] = "routes.redirect";
    char location[1024];
    const char *text = sky_yaml_text(yaml, node, path, "https://host, or a URL or a path");
    if (text == NULL)
        return;
    const char *host = strstr(text, "://");
    bool origin = host != NULL && strpbrk(host + 3, "/$") == NULL;
    int len = snprintf(location, sizeof(location), "%s%s", text, origin ? "$path$query" : "");
    if (len < 0 || (size_t)len >= sizeof(location)) {
        report(yaml, node, path, NULL, "is longer than 1000 bytes", NULL);
        return;
    }
    rules->answer.status = 308;
    read_location(yaml, node, path, location, rules);
}

static void read_body(struct sky_yaml *yaml, const yaml_node_t *node, struct sky_route_rules *rules)
{
    const char *text = sky_yaml_text(yaml, node, "routes.return.body", "a text");
    if (text != NULL && rules->answer.status == 204)
        report(yaml, node, "routes.return.body", NULL, "cannot go with status 204", NULL);
    else if (text != NULL)
        rules->answer.body = copy(yaml, node, text);
}

static void read_return(struct sky_yaml *yaml, const yaml_node_t *node,
                        struct sky_route_rules *rules)
{
    enum { STATUS, LOCATION, BODY, COUNT };
    struct sky_yaml_member members[COUNT] = {[STATUS] = {.name = "status", .required = true},
                                             [LOCATION] = {.name = "location"},
                                             [BODY] = {.name = "body"}};
    if (!sky_yaml_read_members(yaml, node, "routes.return", members, COUNT,
                               "{status: NUMBER, location: URL, body: TEXT}"))
        return;
    sky_config_read_member(yaml, &options[RETURN_STATUS], NULL, members[STATUS].value, rules);
    if (rules->answer.status == 0)
        return;
    if (rules->answer.status == 304)
        report(yaml, members[STATUS].value, "routes.return.status", "304",
               "is an answer about a file only", NULL);
    if (is_redirect(rules->answer.status) != (members[LOCATION].value != NULL))
        report(yaml, node, "routes.return", NULL, "has a status or a location that needs the other",
               "301, 302, 303, 307 or 308 with a location, any other status without");
    else if (members[LOCATION].value != NULL) {
        const char *text = sky_yaml_text(yaml, members[LOCATION].value, "routes.return.location",
                                         "a URL or a path");
        if (text != NULL)
            read_location(yaml, members[LOCATION].value, "routes.return.location", text, rules);
    }
    if (members[BODY].value != NULL)
        read_body(yaml, members[BODY].value, rules);
}

static void read_files(struct sky_yaml *yaml, const struct sky_yaml_member *members,
                       struct sky_route_rules *rules)
{
    static const enum sky_route_member needing[] = {SKY_ROUTE_index, SKY_ROUTE_cache_control};
    const yaml_node_t *index = members[SKY_ROUTE_index].value;
    const yaml_node_t *cache_control = members[SKY_ROUTE_cache_control].value;
    if (members[SKY_ROUTE_static].value == NULL) {
        for (size_t i = 0; i < 2; i++) {
            const struct sky_yaml_member *member = &members[needing[i]];
            if (member->value != NULL)
                report(yaml, member->value, "routes", member->name, "goes with static only", NULL);
        }
        return;
    }
    sky_config_read_member(yaml, &options[STATIC], NULL, members[SKY_ROUTE_static].value, rules);
    if (cache_control != NULL)
        sky_config_read_member(yaml, &options[CACHE_CONTROL], NULL, cache_control, rules);
    if (index == NULL)
        rules->files.index = copy(yaml, members[SKY_ROUTE_static].value, "index.html");
    else if (index->type != YAML_SCALAR_NODE || index->data.scalar.length != 0)
        sky_config_read_member(yaml, &options[INDEX], NULL, index, rules);
    if (rules->files.index != NULL && strchr(rules->files.index, '/') != NULL)
        report(yaml, index, "routes.index", rules->files.index, "is no name of a file",
               "a name, or nothing for no index");
}

static void read_members(struct sky_yaml *yaml, const struct sky_yaml_member *members,
                         struct sky_route_rules *rules)
{
    const yaml_node_t *node;
    if ((node = members[SKY_ROUTE_strip_prefix].value) != NULL)
        sky_config_read_member(yaml, &options[STRIP_PREFIX], NULL, node, rules);
    if ((node = members[SKY_ROUTE_traced].value) != NULL)
        sky_config_read_member(yaml, &options[TRACED], NULL, node, rules);
    if ((node = members[SKY_ROUTE_sampling].value) != NULL)
        sky_config_read_sampling(yaml, node, rules);
    if ((node = members[SKY_ROUTE_limits].value) != NULL)
        read_section(yaml, &options[LIMITS_BODY], "routes.limits", node, rules);
    if ((node = members[SKY_ROUTE_timeouts].value) != NULL)
        read_section(yaml, &options[TIMEOUTS_RESPONSE], "routes.timeouts", node, rules);
    if ((node = members[SKY_ROUTE_request_headers].value) != NULL)
        sky_config_read_fields(yaml, node, "routes.request_headers", &rules->request,
                               &rules->request_host);
    if ((node = members[SKY_ROUTE_response_headers].value) != NULL)
        sky_config_read_fields(yaml, node, "routes.response_headers", &rules->response, NULL);
    sky_config_read_edge(yaml, members, rules);
    read_files(yaml, members, rules);
    if ((node = members[SKY_ROUTE_redirect].value) != NULL)
        read_redirect(yaml, node, rules);
    if ((node = members[SKY_ROUTE_return].value) != NULL)
        read_return(yaml, node, rules);
}

bool sky_config_read_rules(struct sky_yaml *yaml, const yaml_node_t *route,
                           const struct sky_yaml_member *members, struct sky_route_rules **rules)
{
    size_t errors = yaml->problems->errors;
    bool any = false;
    *rules = NULL;
    for (size_t i = SKY_ROUTE_upstream + 1; i < SKY_ROUTE_MEMBER_COUNT; i++)
        any |= members[i].value != NULL;
    if (!any)
        return true;
    *rules = sky_route_rules_new();
    if (*rules == NULL) {
        report(yaml, route, NULL, NULL, "memory is out", NULL);
        return false;
    }
    read_members(yaml, members, *rules);
    if (!sky_route_fields_complete(&(*rules)->request) ||
        !sky_route_fields_complete(&(*rules)->response))
        report(yaml, route, NULL, NULL, "memory is out", NULL);
    if (errors == yaml->problems->errors)
        return true;
    sky_route_rules_destroy(*rules);
    *rules = NULL;
    return false;
}

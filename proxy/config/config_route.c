/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one route after the other out of the file. */
#include "proxy/config/config_route.h"

#include <stdint.h>
#include <string.h>

#include "proxy/config/config_list.h"
#include "proxy/config/config_route_fields.h"
#include "proxy/config/config_route_rules.h"

static const char accepted[] =
#define SKY_ROUTE_MEMBER(member) ", " #member
    SKY_ROUTE_MEMBERS(SKY_ROUTE_MEMBER)
#undef SKY_ROUTE_MEMBER
    ;

static void report_upstream(const struct sky_config *config, const struct sky_yaml *yaml,
                            const yaml_node_t *node, const char *name)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (sky_problem_nearer(name, config->upstreams[i].name, &best))
            nearest = config->upstreams[i].name;
    }
    sky_yaml_report(yaml, node,
                    (struct sky_problem){.option = "routes.upstream",
                                         .value = name,
                                         .what = "is not among upstreams",
                                         .nearest = nearest});
}

/* A route passes on or answers by itself. */
static bool has_one_target(const struct sky_yaml *yaml, const yaml_node_t *item,
                           const struct sky_yaml_member *members)
{
    bool passes_on = members[SKY_ROUTE_upstream].value != NULL,
         files = members[SKY_ROUTE_static].value != NULL;
    size_t targets = (passes_on || files) + (members[SKY_ROUTE_redirect].value != NULL) +
                     (members[SKY_ROUTE_return].value != NULL);
    if (targets == 1)
        return true;
    sky_yaml_report(
        yaml, item,
        (struct sky_problem){.option = "routes",
                             .what = targets == 0 ? "has no target" : "has more than one target",
                             .accepted = "static, upstream (or both), redirect or return"});
    return false;
}

static const struct sky_upstream_config *
read_upstream(const struct sky_config *config, const struct sky_yaml *yaml, const yaml_node_t *node)
{
    const char *name = sky_yaml_text(yaml, node, "routes.upstream", "a name among upstreams");
    if (name == NULL)
        return NULL;
    const struct sky_upstream_config *upstream = sky_config_find_upstream(config, name);
    if (upstream == NULL)
        report_upstream(config, yaml, node, name);
    return upstream;
}

/* The host, "default" when none is given; NULL after a report. */
static const char *read_host(const struct sky_yaml *yaml, const yaml_node_t *node)
{
    static const char hosts[] = "example.org, *.example.org or default";
    if (node == NULL)
        return "default";
    const char *host = sky_yaml_text(yaml, node, "routes.host", hosts);
    const char *problem = host != NULL ? sky_config_check_host(host) : NULL;
    if (problem == NULL)
        return host;
    sky_yaml_report(
        yaml, node,
        (struct sky_problem){
            .option = "routes.host", .value = host, .what = problem, .accepted = hosts});
    return NULL;
}

static const char *read_path(const struct sky_yaml *yaml, const yaml_node_t *node,
                             const struct sky_route_rules *rules)
{
    const char *path = sky_yaml_text(yaml, node, "routes.path", "/PREFIX");
    bool cuts =
        rules != NULL && (rules->strip_prefix == SKY_SWITCH_ON || rules->files.folder != NULL);
    if (path == NULL || !cuts || (path[0] == '/' && path[strlen(path) - 1] == '/'))
        return path;
    sky_yaml_report(
        yaml, node,
        (struct sky_problem){.option = "routes.path",
                             .value = path,
                             .what = "has no / at its end, which strip_prefix and static need"});
    return NULL;
}

/* Takes the rules over. The item is shown as it was read: only now all of it is known to be as it
 * should, without lists that hold themselves. */
static void add_route(struct sky_config *config, struct sky_yaml *yaml, const yaml_node_t *item,
                      const struct sky_yaml_member *members, struct sky_route_rules *rules)
{
    const yaml_node_t *upstream_node = members[SKY_ROUTE_upstream].value;
    const struct sky_upstream_config *upstream =
        upstream_node != NULL ? read_upstream(config, yaml, upstream_node) : NULL;
    const char *host = read_host(yaml, members[SKY_ROUTE_host].value);
    const char *path = read_path(yaml, members[SKY_ROUTE_path].value, rules);
    struct sky_route_config *route = NULL;
    if (host != NULL && path != NULL && (upstream != NULL || upstream_node == NULL)) {
        const char *problem = sky_config_add_route(config, host, path, &route);
        if (problem != NULL)
            sky_yaml_report(
                yaml, members[SKY_ROUTE_path].value,
                (struct sky_problem){.option = "routes.path", .value = path, .what = problem});
    }
    if (route == NULL) {
        sky_route_rules_destroy(rules);
        return;
    }
    route->upstream = upstream;
    route->rules = rules;
    if (rules != NULL) {
        rules->shown = sky_yaml_json(yaml, item);
        sky_config_mask_fields(rules->shown);
    }
    config->route_rates |= rules != NULL && rules->rate.rate.count != 0;
    config->route_bodies |= rules != NULL && (rules->body != SKY_ROUTE_NO_LIMIT ||
                                              rules->request_buffering == SKY_SWITCH_OFF);
}

static void read_route(struct sky_config *config, struct sky_yaml *yaml, const yaml_node_t *item)
{
    struct sky_yaml_member members[SKY_ROUTE_MEMBER_COUNT] = {
#define SKY_ROUTE_MEMBER(member) {.name = #member},
        SKY_ROUTE_MEMBERS(SKY_ROUTE_MEMBER)
#undef SKY_ROUTE_MEMBER
    };
    struct sky_route_rules *rules;
    members[SKY_ROUTE_path].required = true;
    if (sky_yaml_read_members(yaml, item, "routes", members, SKY_ROUTE_MEMBER_COUNT,
                              accepted + 2) &&
        has_one_target(yaml, item, members) && sky_config_read_rules(yaml, item, members, &rules))
        add_route(config, yaml, item, members, rules);
}

void sky_config_read_routes(struct sky_config *config, struct sky_yaml *yaml,
                            const yaml_node_t *node)
{
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++)
        read_route(config, yaml, item);
}

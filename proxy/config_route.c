/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one route after the other out of the file. */
#include "proxy/config_route.h"

#include <stdint.h>

#include "proxy/config_list.h"

static const char accepted[] = "{path: /PREFIX, upstream: NAME, host: NAME}";

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

enum { PATH, UPSTREAM, HOST, MEMBER_COUNT };

static void read_route(struct sky_config *config, struct sky_yaml *yaml, const yaml_node_t *item)
{
    struct sky_yaml_member members[MEMBER_COUNT] = {
        [PATH] = {.name = "path", .required = true},
        [UPSTREAM] = {.name = "upstream", .required = true},
        [HOST] = {.name = "host"},
    };
    if (!sky_yaml_read_members(yaml, item, "routes", members, MEMBER_COUNT, accepted))
        return;
    const yaml_node_t *host_node = members[HOST].value;
    const char *host =
        host_node != NULL ? sky_yaml_text(yaml, host_node, "routes.host", accepted) : "default";
    const char *path = sky_yaml_text(yaml, members[PATH].value, "routes.path", accepted);
    const char *name = sky_yaml_text(yaml, members[UPSTREAM].value, "routes.upstream", accepted);
    if (host == NULL || path == NULL || name == NULL)
        return;
    const struct sky_upstream_config *upstream = sky_config_find_upstream(config, name);
    if (upstream == NULL) {
        report_upstream(config, yaml, members[UPSTREAM].value, name);
        return;
    }
    struct sky_route_config *route;
    const char *problem = sky_config_check_host(host);
    if (problem != NULL) {
        sky_yaml_report(yaml, host_node,
                        (struct sky_problem){.option = "routes.host",
                                             .value = host,
                                             .what = problem,
                                             .accepted = "example.org, *.example.org or default"});
        return;
    }
    problem = sky_config_add_route(config, host, path, &route);
    if (problem == NULL)
        route->upstream = upstream;
    else
        sky_yaml_report(
            yaml, members[PATH].value,
            (struct sky_problem){.option = "routes.path", .value = path, .what = problem});
}

void sky_config_read_routes(struct sky_config *config, struct sky_yaml *yaml,
                            const yaml_node_t *node)
{
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++)
        read_route(config, yaml, item);
}

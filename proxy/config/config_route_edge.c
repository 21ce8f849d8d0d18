/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_route_edge.h"

#include "proxy/config/config_option.h"
#include "proxy/config/config_route_rules.h"

/* Values that are read as options are; the offset is in the rules. */
static const struct sky_option options[] = {
    {"routes.rate_limit.rate", &sky_option_type_frequency,
     offsetof(struct sky_route_rules, rate.rate), 0, 0, NULL, NULL, NULL},
    {"routes.rate_limit.burst", &sky_option_type_count,
     offsetof(struct sky_route_rules, rate.burst), 1, 1000000, NULL, NULL, NULL},
    {"routes.request_buffering", &sky_option_type_onoff,
     offsetof(struct sky_route_rules, request_buffering), 0, 0, NULL, NULL, NULL},
};
enum { RATE, BURST, REQUEST_BUFFERING };

#define DEFAULT_BURST 20

static void read_option(struct sky_yaml *yaml, const struct sky_option *option,
                        const yaml_node_t *node, struct sky_route_rules *rules)
{
    char accepted[SKY_OPTION_TEXT_BYTES];
    sky_option_accepted(option, accepted, sizeof(accepted));
    const char *text = sky_yaml_text(yaml, node, option->path, accepted);
    const char *problem =
        text != NULL ? option->type->read(option, (char *)rules + option->offset, text) : NULL;
    if (problem != NULL)
        sky_yaml_report(
            yaml, node,
            (struct sky_problem){
                .option = option->path, .value = text, .what = problem, .accepted = accepted});
}

static void read_rate_limit(struct sky_yaml *yaml, const yaml_node_t *node,
                            struct sky_route_rules *rules)
{
    struct sky_yaml_member members[] = {
        [RATE] = {.name = "rate", .required = true}, [BURST] = {.name = "burst"}};
    if (!sky_yaml_read_members(yaml, node, "routes.rate_limit", members, 2,
                               "{rate: NUMBER/s, burst: NUMBER}"))
        return;
    rules->rate.burst = DEFAULT_BURST;
    read_option(yaml, &options[RATE], members[RATE].value, rules);
    if (members[BURST].value != NULL)
        read_option(yaml, &options[BURST], members[BURST].value, rules);
}

void sky_config_read_edge(struct sky_yaml *yaml, const struct sky_yaml_member *members,
                          struct sky_route_rules *rules)
{
    const yaml_node_t *node;
    if ((node = members[SKY_ROUTE_rate_limit].value) != NULL)
        read_rate_limit(yaml, node, rules);
    if ((node = members[SKY_ROUTE_request_buffering].value) != NULL)
        read_option(yaml, &options[REQUEST_BUFFERING], node, rules);
}

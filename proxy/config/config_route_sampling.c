/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_route_sampling.h"

#include <stdlib.h>

#include "proxy/config/config_member.h"

/* As the rows of agent.sampling in options.def; the offset is in the route's. */
#define OFFSET(field) offsetof(struct sky_route_sampling, config.field)
static const struct sky_option options[SKY_ROUTE_SAMPLING_MEMBERS] = {
    [SKY_ROUTE_SAMPLING_RATE] = {"routes.sampling.rate", &sky_option_type_rate, OFFSET(rate_ppm), 0,
                                 1, NULL, NULL, NULL},
    [SKY_ROUTE_SAMPLING_PER_3_SECONDS] = {"routes.sampling.per_3_seconds", &sky_option_type_quota,
                                          OFFSET(per_3_seconds), 0, 1000000000, NULL, NULL, NULL},
    [SKY_ROUTE_SAMPLING_KEEP_ERRORS] = {"routes.sampling.keep_errors", &sky_option_type_flag,
                                        OFFSET(keep_errors), 0, 0, NULL, NULL, NULL},
    [SKY_ROUTE_SAMPLING_KEEP_SLOWER_THAN] = {"routes.sampling.keep_slower_than",
                                             &sky_option_type_duration, OFFSET(keep_slower_than_ms),
                                             0, 86400000, NULL, NULL, NULL},
};

static const char accepted_members[] =
    "{rate: NUMBER, per_3_seconds: NUMBER, keep_errors: on, keep_slower_than: TIME}";

void sky_config_read_sampling(struct sky_yaml *yaml, const yaml_node_t *node,
                              struct sky_route_rules *rules)
{
    struct sky_yaml_member members[SKY_ROUTE_SAMPLING_MEMBERS] = {
        [SKY_ROUTE_SAMPLING_RATE] = {.name = "rate"},
        [SKY_ROUTE_SAMPLING_PER_3_SECONDS] = {.name = "per_3_seconds"},
        [SKY_ROUTE_SAMPLING_KEEP_ERRORS] = {.name = "keep_errors"},
        [SKY_ROUTE_SAMPLING_KEEP_SLOWER_THAN] = {.name = "keep_slower_than"},
    };
    if (!sky_yaml_read_members(yaml, node, "routes.sampling", members, SKY_ROUTE_SAMPLING_MEMBERS,
                               accepted_members))
        return;
    if (rules->traced == SKY_SWITCH_OFF) {
        sky_yaml_report(yaml, node,
                        (struct sky_problem){.option = "routes.sampling",
                                             .what = "is of no use with traced: off"});
        return;
    }
    rules->sampling = calloc(1, sizeof(*rules->sampling));
    if (rules->sampling == NULL) {
        sky_yaml_report(yaml, node,
                        (struct sky_problem){.option = "routes.sampling", .what = "memory is out"});
        return;
    }
    for (size_t i = 0; i < SKY_ROUTE_SAMPLING_MEMBERS; i++) {
        rules->sampling->given[i] = members[i].value != NULL;
        if (members[i].value != NULL)
            sky_config_read_member(yaml, &options[i], NULL, members[i].value, rules->sampling);
    }
}

static void complete(struct sky_route_sampling *sampling, const struct sky_sampling_config *general)
{
    struct sky_sampling_config own = sampling->config;
    sampling->config = *general;
    if (sampling->given[SKY_ROUTE_SAMPLING_RATE])
        sampling->config.rate_ppm = own.rate_ppm;
    if (sampling->given[SKY_ROUTE_SAMPLING_PER_3_SECONDS])
        sampling->config.per_3_seconds = own.per_3_seconds;
    if (sampling->given[SKY_ROUTE_SAMPLING_KEEP_ERRORS])
        sampling->config.keep_errors = own.keep_errors;
    if (sampling->given[SKY_ROUTE_SAMPLING_KEEP_SLOWER_THAN])
        sampling->config.keep_slower_than_ms = own.keep_slower_than_ms;
}

void sky_config_complete_sampling(struct sky_config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        const struct sky_route_rules *rules = config->routes[i].rules;
        if (rules != NULL && rules->sampling != NULL)
            complete(rules->sampling, &config->agent.sampling);
    }
}

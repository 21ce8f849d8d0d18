/* SPDX-License-Identifier: Apache-2.0 */
/* What a route of the file asks for besides its path, host and upstream. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ROUTE_RULES_H
#define SKY_PROXY_CONFIG_CONFIG_ROUTE_RULES_H

#include "proxy/config/config_yaml.h"
#include "proxy/route/route_rules.h"

/* The members of a route, in this order. */
#define SKY_ROUTE_MEMBERS(X) \
    X(path)                  \
    X(host)                  \
    X(upstream)              \
    X(static)                \
    X(index)                 \
    X(cache_control)         \
    X(redirect)              \
    X(return )               \
    X(strip_prefix)          \
    X(traced)                \
    X(sampling)              \
    X(limits)                \
    X(timeouts)              \
    X(rate_limit)            \
    X(compress)              \
    X(error_pages)           \
    X(intercept_errors)      \
    X(request_buffering)     \
    X(request_headers)       \
    X(response_headers)

enum sky_route_member {
#define SKY_ROUTE_MEMBER(name) SKY_ROUTE_##name,
    SKY_ROUTE_MEMBERS(SKY_ROUTE_MEMBER)
#undef SKY_ROUTE_MEMBER
        SKY_ROUTE_MEMBER_COUNT
};

/* sky_config_read_rules: reads the members but path, host and upstream into *rules, NULL when none
 * of them is given. False after a report. */
bool sky_config_read_rules(struct sky_yaml *yaml, const yaml_node_t *route,
                           const struct sky_yaml_member *members, struct sky_route_rules **rules);

#endif

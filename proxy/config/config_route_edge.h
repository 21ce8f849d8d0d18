/* SPDX-License-Identifier: Apache-2.0 */
/* What a route says of its clients: how often they may come, how their bodies reach the app, how
 * its answers reach them. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ROUTE_EDGE_H
#define SKY_PROXY_CONFIG_CONFIG_ROUTE_EDGE_H

#include "proxy/config/config_yaml.h"
#include "proxy/route/route_rules.h"

/* sky_config_read_edge: from the members of a route, by enum sky_route_member; defects are
 * reported. */
void sky_config_read_edge(struct sky_yaml *yaml, const struct sky_yaml_member *members,
                          struct sky_route_rules *rules);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a route says of sampling, in place of agent.sampling. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ROUTE_SAMPLING_H
#define SKY_PROXY_CONFIG_CONFIG_ROUTE_SAMPLING_H

#include "proxy/config/config_yaml.h"
#include "proxy/route/route_rules.h"

/* sky_config_read_sampling: from a mapping; defects are reported. */
void sky_config_read_sampling(struct sky_yaml *yaml, const yaml_node_t *node,
                              struct sky_route_rules *rules);

/* sky_config_complete_sampling: what a route leaves open is as in agent.sampling, which is known
 * once file, environment and command line are read. */
void sky_config_complete_sampling(struct sky_config *config);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The list `routes:` of the file. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ROUTE_H
#define SKY_PROXY_CONFIG_CONFIG_ROUTE_H

#include "proxy/config/config.h"
#include "proxy/config/config_yaml.h"

/* sky_config_read_routes: adds the routes of a sequence; after all upstreams. Defects are reported
 * at their places. */
void sky_config_read_routes(struct sky_config *config, struct sky_yaml *yaml,
                            const yaml_node_t *node);

#endif

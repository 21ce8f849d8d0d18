/* SPDX-License-Identifier: Apache-2.0 */
/* The members request_headers and response_headers of a route. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ROUTE_FIELDS_H
#define SKY_PROXY_CONFIG_CONFIG_ROUTE_FIELDS_H

#include "proxy/config/config_yaml.h"
#include "proxy/route/route_rules.h"

/* sky_config_read_fields: the mapping {set, add, remove} at path; host, when not NULL, takes what
 * is set as Host. Defects are reported. */
void sky_config_read_fields(struct sky_yaml *yaml, const yaml_node_t *node, const char *path,
                            struct sky_route_fields *fields, char **host);

/* sky_config_mask_fields: hides credentials among the request_headers of a route that is shown. */
void sky_config_mask_fields(struct json_t *route);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* An option that is a member of a list's item: a route's, an upstream's. */
#ifndef SKY_PROXY_CONFIG_CONFIG_MEMBER_H
#define SKY_PROXY_CONFIG_CONFIG_MEMBER_H

#include "proxy/config/config_option.h"
#include "proxy/config/config_yaml.h"

/* sky_config_read_member: reads the node into the object that the option's offset counts from. A
 * defect is reported under `path` (NULL: the option's own), and the field keeps its value then. */
void sky_config_read_member(struct sky_yaml *yaml, const struct sky_option *option,
                            const char *path, const yaml_node_t *node, void *object);

#endif

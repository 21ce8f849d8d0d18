/* SPDX-License-Identifier: Apache-2.0 */
/* The list `listen:` of the file. */
#ifndef SKY_PROXY_CONFIG_CONFIG_LISTEN_H
#define SKY_PROXY_CONFIG_CONFIG_LISTEN_H

#include "proxy/config/config.h"
#include "proxy/config/config_yaml.h"

/* sky_config_read_listen: these listeners in place of all others. Defects are reported at their
 * places; the files that are named are not opened. */
void sky_config_read_listen(struct sky_config *config, struct sky_yaml *yaml,
                            const yaml_node_t *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing of one upstream: its servers, and its members by the table
 * upstream_options.def. */
#ifndef SKY_PROXY_CONFIG_CONFIG_UPSTREAM_H
#define SKY_PROXY_CONFIG_CONFIG_UPSTREAM_H

#include <jansson.h>
#include <stdio.h>

#include "proxy/config/config.h"
#include "proxy/config/config_yaml.h"

/* sky_config_upstream_defaults: every member at its default. False when memory is out; to be
 * finished in any case. */
bool sky_config_upstream_defaults(struct sky_upstream_config *upstream);

/* sky_config_upstream_fini: frees name, servers and members. */
void sky_config_upstream_fini(struct sky_upstream_config *upstream);

/* sky_config_read_upstream: fills in what the mapping at `path` says; defects are reported. */
void sky_config_read_upstream(struct sky_upstream_config *upstream, struct sky_yaml *yaml,
                              const yaml_node_t *node, const char *path);

/* sky_config_upstream_tls: whether its servers speak TLS. */
bool sky_config_upstream_tls(const struct sky_upstream_config *upstream);

/* sky_config_upstream_tree: all of it but the name, as the file would say it. A new reference. */
json_t *sky_config_upstream_tree(const struct sky_upstream_config *upstream);

/* sky_config_upstream_reference: a row of a Markdown table for each member. */
void sky_config_upstream_reference(FILE *out);

#endif

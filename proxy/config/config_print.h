/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration and the table of options as text. */
#ifndef SKY_PROXY_CONFIG_CONFIG_PRINT_H
#define SKY_PROXY_CONFIG_CONFIG_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "proxy/config/config.h"

/* sky_config_tree: what is in effect, secrets masked, nested as in the file. A new reference; NULL
 * when memory is out. */
json_t *sky_config_tree(const struct sky_config *config);

/* sky_config_write: the same as YAML that --config takes, but for the secrets. False when memory is
 * out. */
bool sky_config_write(const struct sky_config *config, FILE *out);

/* sky_config_write_example: a file with every option at its default: conf/skystitch-full.yaml. */
void sky_config_write_example(FILE *out);

/* sky_config_write_reference: all options, variables and counters as Markdown: docs/reference.md.
 */
void sky_config_write_reference(FILE *out);

#endif

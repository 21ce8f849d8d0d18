/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML file. */
#ifndef SKY_PROXY_CONFIG_CONFIG_FILE_H
#define SKY_PROXY_CONFIG_CONFIG_FILE_H

#include <stddef.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

/* sky_config_file_load: reads the file of that name, at most 1 MiB, and applies it. */
void sky_config_file_load(struct sky_config *config, const char *name,
                          struct sky_problems *problems);

/* sky_config_file_apply: the same from bytes. Every defect is reported as of `name:line:column`;
 * options without defect are set. */
void sky_config_file_apply(struct sky_config *config, const char *name, const void *bytes,
                           size_t len, struct sky_problems *problems);

#endif

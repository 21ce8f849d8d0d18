/* SPDX-License-Identifier: Apache-2.0 */
/* The reading of all sources in their order, with everything from outside passed in. */
#ifndef SKY_PROXY_CONFIG_CONFIG_READ_H
#define SKY_PROXY_CONFIG_CONFIG_READ_H

#include "proxy/config/config.h"
#include "proxy/config/config_command.h"
#include "proxy/config/config_problem.h"

/* sky_config_defaults: every option at its default, no listener, upstream or route. NULL when
 * memory is out. */
struct sky_config *sky_config_defaults(struct sky_problems *problems);

/* sky_config_read: defaults, file, environment (NULL: none) and command line, each over the one
 * before, then what only the whole tells. NULL when a defect was reported. */
struct sky_config *sky_config_read(const struct sky_command *command, char *const *environment,
                                   struct sky_problems *problems);

#endif

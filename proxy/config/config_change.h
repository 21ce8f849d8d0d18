/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload finds changed between the running configuration and the next. */
#ifndef SKY_PROXY_CONFIG_CONFIG_CHANGE_H
#define SKY_PROXY_CONFIG_CONFIG_CHANGE_H

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

/* sky_option_needs_restart: whether only a new process applies the option of this path, so that a
 * reload that finds it changed is refused. */
bool sky_option_needs_restart(const char *path);

/* sky_config_check_restart: reports each such option that has changed. */
void sky_config_check_restart(const struct sky_config *running, const struct sky_config *next,
                              struct sky_problems *problems);

/* sky_config_same_upstreams: for each upstream of next, the index of the one of running that is
 * equal in all that its sockets depend on, else SIZE_MAX. Heap, freed by the caller. */
size_t *sky_config_same_upstreams(const struct sky_config *running, const struct sky_config *next);

#endif

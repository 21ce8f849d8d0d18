/* SPDX-License-Identifier: Apache-2.0 */
/* The environment: SKYSTITCH_<SECTION>_<KEY> for each option, and the names of the Python agent. */
#ifndef SKY_PROXY_CONFIG_CONFIG_ENVIRONMENT_H
#define SKY_PROXY_CONFIG_CONFIG_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

/* sky_environment_apply: an own name beats the Python agent's. Unknown SW_* and SKYSTITCH_* names
 * get one warning each, those of the helper, of OAP and of Kubernetes' service links none. */
void sky_environment_apply(struct sky_config *config, char *const *environment,
                           struct sky_problems *problems);

/* sky_environment_get: the value of a name; NULL when it is not set, or empty. */
const char *sky_environment_get(char *const *environment, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The reporter's part of the configuration: what only the whole tells, and how the reporter wants
 * it. */
#ifndef SKY_PROXY_CONFIG_CONFIG_REPORTER_H
#define SKY_PROXY_CONFIG_CONFIG_REPORTER_H

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"
#include "reporter/reporter.h"

/* sky_config_complete_reporter: resolves what is auto, reports what does not fit together and files
 * that cannot be used. */
void sky_config_complete_reporter(struct sky_config *config, struct sky_problems *problems);

/* sky_config_backend_tls, sky_config_kafka: borrow from the configuration. */
struct sky_backend_tls sky_config_backend_tls(const struct sky_config *config);
struct sky_kafka sky_config_kafka(const struct sky_config *config);

#endif

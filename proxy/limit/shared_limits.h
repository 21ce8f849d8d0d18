/* SPDX-License-Identifier: Apache-2.0 */
/* The limits that all workers share. Main thread. */
#ifndef SKY_PROXY_LIMIT_SHARED_LIMITS_H
#define SKY_PROXY_LIMIT_SHARED_LIMITS_H

#include <stdbool.h>

struct sky_config;
struct sky_server;

/* sky_shared_limits_make: by the server's configuration, before there are workers. -1 after a line
 * in the log. */
int sky_shared_limits_make(struct sky_server *server);

/* sky_shared_limits_prepare: makes what this configuration needs and the one in force did not.
 * False after a line in the log. */
bool sky_shared_limits_prepare(struct sky_server *server, const struct sky_config *config);

/* sky_shared_limits_change: by the configuration that the server has now. */
void sky_shared_limits_change(struct sky_server *server);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The admin listener's pages, on the main thread's loop: /metrics, /livez, /readyz, /api/traces,
 * /api/traces/{id}, /api/config, POST /v3/segments. */
#ifndef SKY_PROXY_ADMIN_ADMIN_H
#define SKY_PROXY_ADMIN_ADMIN_H

#include <h2o.h>

#include "proxy/server.h"

/* sky_admin_register: installs the pages' handler on a path of the admin host. The server is
 * borrowed for the life of the configuration. */
void sky_admin_register(h2o_pathconf_t *path, struct sky_server *server);

#endif

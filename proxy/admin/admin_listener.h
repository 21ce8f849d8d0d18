/* SPDX-License-Identifier: Apache-2.0 */
/* The admin listener and the loop of the main thread that it is served by. */
#ifndef SKY_PROXY_ADMIN_ADMIN_LISTENER_H
#define SKY_PROXY_ADMIN_ADMIN_LISTENER_H

#include "proxy/server.h"

/* sky_admin_listener_open: makes server->ctx and, unless admin.listen is off, listens. -1 after a
 * line in the log; then only sky_admin_listener_close may follow. */
int sky_admin_listener_open(struct sky_server *server);

/* sky_admin_listener_leave: takes no more connections; another process does. */
void sky_admin_listener_leave(struct sky_server *server);

/* sky_admin_listener_close: the end of that loop; nothing may use it any more. */
void sky_admin_listener_close(struct sky_server *server);

#endif

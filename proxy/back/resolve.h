/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses of a server's name, as one worker knows them. Of literal addresses, unix sockets
 * and localhost nobody is asked. Loop thread only. */
#ifndef SKY_PROXY_BACK_RESOLVE_H
#define SKY_PROXY_BACK_RESOLVE_H

#include "proxy/back/upstream.h"

/* sky_resolve_init: `on_resolved` is called from the loop after each lookup; when that has failed,
 * the server's addresses are those of before, maybe none. */
void sky_resolve_init(struct sky_upstream_server *server,
                      void (*on_resolved)(struct sky_upstream_server *server));

/* sky_resolve_fini: nobody waits for a lookup under way any more. */
void sky_resolve_fini(struct sky_upstream_server *server);

/* sky_resolve_end: before this thread's loop is destroyed, and once no server is left: waits a
 * little for lookups under way. */
void sky_resolve_end(h2o_loop_t *loop);

/* sky_resolve_age: how old the answer is, in times of `resolve`; 2 stands for more, and for none.
 */
unsigned sky_resolve_age(const struct sky_upstream_server *server);

/* sky_resolve_start: asks the name service; while no lookup is under way. */
void sky_resolve_start(struct sky_upstream_server *server);

/* sky_resolve_is_current: whether the connection's address is still one of its server's name. */
bool sky_resolve_is_current(struct sky_upstream_conn *conn);

#endif

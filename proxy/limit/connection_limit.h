/* SPDX-License-Identifier: Apache-2.0 */
/* How many client connections there may be: in all, and of one address. One for all workers; any
 * thread.
 *
 * A connection is counted from its accept until its socket is closed, whatever it becomes in
 * between: a counted socket's on_close is in use. Connections in all cost an atomic operation each;
 * the table of addresses, and its locks, are used only while connections_per_address is set. */
#ifndef SKY_PROXY_LIMIT_CONNECTION_LIMIT_H
#define SKY_PROXY_LIMIT_CONNECTION_LIMIT_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/trust.h"

struct sky_connection_limit;

/* sky_connection_limit_auto: what limits.connections is by default: a running request may hold two
 * descriptors, so half of those that the process may have, less what it needs by itself. */
uint32_t sky_connection_limit_auto(uint64_t descriptor_limit, uint32_t workers);

/* sky_connection_limit_new: NULL when memory is out. per_address 0: no limit. */
struct sky_connection_limit *sky_connection_limit_new(uint32_t max, uint32_t per_address);

/* sky_connection_limit_set: other limits; connections above them stay. */
void sky_connection_limit_set(struct sky_connection_limit *limit, uint32_t max,
                              uint32_t per_address);

/* sky_connection_limit_enter: counts the connection; false when there are as many as may be. */
bool sky_connection_limit_enter(struct sky_connection_limit *limit, h2o_socket_t *sock);

/* sky_connection_limit_enter_address: counts it for the peer's address, too; after the above. False
 * when that has as many as it may have. Peers without an address and trusted ones, which bring the
 * connections of many, are not counted. */
bool sky_connection_limit_enter_address(struct sky_connection_limit *limit, h2o_socket_t *sock,
                                        const struct sky_trust *trust);

/* sky_connection_limit_destroy: when no connection is left. */
void sky_connection_limit_destroy(struct sky_connection_limit *limit);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The header of the PROXY protocol that tells a server who its client is, ahead of all else on a
 * connection. Pure. */
#ifndef SKY_PROXY_BACK_PROXY_OUT_H
#define SKY_PROXY_BACK_PROXY_OUT_H

#include <stddef.h>
#include <sys/socket.h>

#include "proxy/config/upstream_config.h"

#define SKY_PROXY_OUT_BYTES 108 /* the longest of both versions */

/* sky_proxy_out_write: from `client`, which came to `local`. When one of them is no IP address,
 * or NULL (a connection of the proxy's own), the header says that nobody is known: UNKNOWN in
 * version 1, LOCAL in version 2. Returns its length; 0 for SKY_PROXY_PROTOCOL_OFF. */
size_t sky_proxy_out_write(enum sky_proxy_protocol version, const struct sockaddr *client,
                           const struct sockaddr *local, char dst[SKY_PROXY_OUT_BYTES]);

#endif

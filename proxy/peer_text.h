/* SPDX-License-Identifier: Apache-2.0 */
/* A peer's address as text, made for each request: without inet_ntop and snprintf for IPv4, which
 * cost more than the rest of an entry span. Pure. */
#ifndef SKY_PROXY_PEER_TEXT_H
#define SKY_PROXY_PEER_TEXT_H

#include <sys/socket.h>

#include "propagation/text.h"

/* `[`, an IPv6 address, `]:`, five digits and a NUL. */
#define SKY_PEER_TEXT_BYTES 56

/* sky_peer_ip: the address without its port, an IPv4-mapped one as IPv4; empty for a unix socket.
 * The text lies in dst. */
struct sky_text sky_peer_ip(const struct sockaddr_storage *peer, char dst[SKY_PEER_TEXT_BYTES]);

/* sky_peer_ip_port: `ip:port` or `[ip]:port`, else as sky_peer_ip. */
struct sky_text sky_peer_ip_port(const struct sockaddr_storage *peer,
                                 char dst[SKY_PEER_TEXT_BYTES]);

#endif

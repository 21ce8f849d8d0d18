/* SPDX-License-Identifier: Apache-2.0 */
/* Who sent a request, as far as peers are trusted to say: the list of X-Forwarded-For, or without
 * one that of Forwarded (RFC 7239), is read from its end, which the peer wrote, as long as who
 * wrote an entry is trusted. Pure but for sky_client_address. */
#ifndef SKY_PROXY_CLIENT_ADDRESS_H
#define SKY_PROXY_CLIENT_ADDRESS_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/trust.h"

/* sky_client_node: reads `ip`, `ip:port`, `[ip]` or `[ip]:port`; false for all else, as `unknown`
 * and names. */
bool sky_client_node(struct sky_text text, struct sockaddr_storage *address);

/* sky_client_walk: goes back along a list of X-Forwarded-For that `client` has written or passed
 * on, as long as it is trusted. False: what comes before is not to be asked. */
bool sky_client_walk(struct sky_text list, const struct sky_trust *trust,
                     struct sockaddr_storage *client);

/* sky_client_walk_forwarded: the same with a list of Forwarded. */
bool sky_client_walk_forwarded(struct sky_text list, const struct sky_trust *trust,
                               struct sockaddr_storage *client);

/* sky_client_address: of the request; AF_UNIX or AF_UNSPEC when nobody has said it. */
void sky_client_address(const h2o_req_t *req, const struct sky_trust *trust,
                        struct sockaddr_storage *client);

#endif

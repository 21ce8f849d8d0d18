/* SPDX-License-Identifier: Apache-2.0 */
/* Which Host a request to the admin listener may carry. */
#ifndef SKY_PROXY_ADMIN_ADMIN_HOST_H
#define SKY_PROXY_ADMIN_ADMIN_HOST_H

#include <stdbool.h>

#include "propagation/text.h"
#include "proxy/address.h"

/* sky_admin_host_allowed: true for an IP address, localhost, a name below it, the name that is
 * listened on, and for no Host at all. A page of another site that made its own name resolve to us
 * (DNS rebinding) sends that name. On a unix socket there are no browsers: any. Pure. */
bool sky_admin_host_allowed(struct sky_text host, const struct sky_address *listen);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The value of the field Forwarded (RFC 7239): what a trusted peer has said, and one element of our
 * own behind it. Pure. */
#ifndef SKY_PROXY_BACK_FORWARDED_H
#define SKY_PROXY_BACK_FORWARDED_H

#include <h2o.h>

#include "propagation/text.h"

/* All borrowed. */
struct sky_forwarded {
    const h2o_headers_t *headers; /* of the request */
    bool passes;                  /* their fields Forwarded are believed */
    bool converts;                /* there is none, and X-Forwarded-For stands in for it */
    struct sky_text outer_host, outer_proto; /* beside that: X-Forwarded-Host and -Proto */
    struct sky_text client, host, proto;     /* of our own element; the client's IP, or empty */
};

/* sky_forwarded_bound: how long it may be besides the fields Forwarded and its own texts. */
size_t sky_forwarded_bound(const h2o_headers_t *headers);

/* sky_forwarded_write: returns where it ends. */
char *sky_forwarded_write(const struct sky_forwarded *forwarded, char *at);

#endif

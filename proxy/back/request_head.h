/* SPDX-License-Identifier: Apache-2.0 */
/* A request's first bytes on a connection to its upstream: an HTTP/1 head or a uwsgi packet. */
#ifndef SKY_PROXY_BACK_REQUEST_HEAD_H
#define SKY_PROXY_BACK_REQUEST_HEAD_H

#include "proxy/back/forward.h"

/* A head up to this size is put together on the stack. */
#define SKY_REQUEST_HEAD_STACK_BYTES 4096

/* sky_request_head: written to the stack, or the request's pool when it is longer; empty when it is
 * too long for the upstream's protocol. */
struct sky_text sky_request_head(const struct sky_forward *forward,
                                 const struct sky_upstream_config *upstream,
                                 char stack[SKY_REQUEST_HEAD_STACK_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters and fields of a request as SkyWalking's agents show them: a line `name=[a,b]` for
 * each name, in the order of their first place, in the tags http.params and http.headers. Values
 * whose name tells of a secret are `***`. Pure but for the pool. */
#ifndef SKY_PROXY_TRACE_HTTP_PARAMS_H
#define SKY_PROXY_TRACE_HTTP_PARAMS_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/config/config.h"

/* Larger forms are not read, nor what follows so many parameters or values. */
#define SKY_HTTP_PARAMS_MAX_FORM_BYTES (64 * 1024)
#define SKY_HTTP_PARAMS_MAX 256

/* sky_http_params: of a query and of a form (application/x-www-form-urlencoded), in at most
 * max_bytes and `...`. Bytes that are no UTF-8 stay as they are. Empty when there are none. */
struct sky_text sky_http_params(h2o_mem_pool_t *pool, struct sky_text query, struct sky_text form,
                                const struct sky_strings *masked, size_t max_bytes);

/* sky_http_headers: of those fields that are in `names`, in any case. */
struct sky_text sky_http_headers(h2o_mem_pool_t *pool, const h2o_headers_t *headers,
                                 const struct sky_strings *names, const struct sky_strings *masked,
                                 size_t max_bytes);

/* sky_http_is_form: whether a Content-Type is application/x-www-form-urlencoded. */
bool sky_http_is_form(struct sky_text content_type);

#endif

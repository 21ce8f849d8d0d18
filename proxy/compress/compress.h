/* SPDX-License-Identifier: Apache-2.0 */
/* Compresses answers on their way to clients that take it, for HTTP/1 and HTTP/2 alike.
 *
 * Left as they are: what has a Content-Encoding or Cache-Control: no-transform, parts (206),
 * answers without a body, types that are not listed, and what is known to be small. Each piece of
 * an answer whose length is not known is flushed, so that a stream stays one. */
#ifndef SKY_PROXY_COMPRESS_COMPRESS_H
#define SKY_PROXY_COMPRESS_COMPRESS_H

#include <h2o.h>

#include "proxy/compress/coder.h"
#include "proxy/compress/compress_config.h"
#include "proxy/counters.h"

/* sky_compress_prepare: for the answer of this request, before h2o_start_response; both borrowed
 * for its life. */
void sky_compress_prepare(h2o_req_t *req, const struct sky_compress_config *config,
                          struct sky_counters *counters);

/* sky_compress_fits: whether the answer's head in req->res is one that is compressed for those who
 * take it. Pure. */
bool sky_compress_fits(const struct sky_compress_config *config, const h2o_req_t *req);

/* sky_compress_choose: the coding that the request takes, brotli rather than gzip when it likes
 * both as much. Pure. */
enum sky_coding sky_compress_choose(const struct sky_compress_config *config, const h2o_req_t *req);

/* sky_compress_change_head: the fields of an answer that is compressed from now on; NONE: of one
 * that could have been. */
void sky_compress_change_head(h2o_req_t *req, enum sky_coding coding);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a request that failed: what happened and what to do, as HTML or plain text. */
#ifndef SKY_PROXY_EXCHANGE_ERROR_PAGE_H
#define SKY_PROXY_EXCHANGE_ERROR_PAGE_H

#include <h2o.h>

#include "proxy/exchange/error_pages.h"
#include "proxy/exchange/failure.h"

/* sky_error_page_send: answers with the failure's status and page; nothing of an answer may have
 * been handed to h2o yet. As with h2o_send, the request may be gone when it returns.
 * retry_after_s: 0 when the failure does not know it. custom: in place of the page made here, or
 * NULL; borrowed for the request's life. */
void sky_error_page_send(h2o_req_t *req, enum sky_failure failure, uint32_t retry_after_s,
                         const struct sky_error_page *custom);

/* sky_error_page_replace: answers with this page what the app has answered with req->res.status,
 * whose other fields go, but for those that belong to the status. */
void sky_error_page_replace(h2o_req_t *req, const struct sky_error_page *custom);

#endif

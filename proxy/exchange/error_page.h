/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to a request that failed: what happened and what to do, as HTML or plain text. */
#ifndef SKY_PROXY_EXCHANGE_ERROR_PAGE_H
#define SKY_PROXY_EXCHANGE_ERROR_PAGE_H

#include <h2o.h>

#include "proxy/exchange/failure.h"

/* sky_error_page_send: answers with the failure's status and page; nothing of an answer may have
 * been handed to h2o yet. As with h2o_send, the request may be gone when it returns.
 * retry_after_s: 0 when the failure does not know it. */
void sky_error_page_send(h2o_req_t *req, enum sky_failure failure, uint32_t retry_after_s);

#endif

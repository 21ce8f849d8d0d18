/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in which a request fails on its way to the app and back: one row each in failure.def. */
#ifndef SKY_PROXY_EXCHANGE_FAILURE_H
#define SKY_PROXY_EXCHANGE_FAILURE_H

#include "proxy/counters.h"
#include "proxy/front/http1_refusal.h"

enum sky_failure {
    SKY_FAILURE_NONE,
#define SKY_FAILURE(name, status, counter, text, page, advice) SKY_FAILURE_##name,
#include "proxy/exchange/failure.def"
#undef SKY_FAILURE
    SKY_FAILURE_COUNT
};

struct sky_failure_info {
    int status; /* of the error page */
    enum sky_counter counter;
    const char *text;          /* static, for the trace and the log */
    const char *page, *advice; /* static, for the client */
};

/* sky_failure_info: not for SKY_FAILURE_NONE. */
const struct sky_failure_info *sky_failure_info(enum sky_failure failure);

/* sky_failure_of_body: what sky_front_refusal has found wrong with a request's body. */
enum sky_failure sky_failure_of_body(enum sky_refusal refusal);

#endif

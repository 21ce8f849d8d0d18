/* SPDX-License-Identifier: Apache-2.0 */
/* Why an HTTP/1 request is refused. */
#ifndef SKY_PROXY_FRONT_HTTP1_REFUSAL_H
#define SKY_PROXY_FRONT_HTTP1_REFUSAL_H

#include "proxy/counters.h"

enum sky_refusal {
    SKY_REFUSAL_none,
#define SKY_REFUSAL(name, status, text) SKY_REFUSAL_##name,
#include "proxy/front/http1_refusal.def"
#undef SKY_REFUSAL
    SKY_REFUSAL_COUNT
};

struct sky_refusal_row {
    const char *name;
    int status;
    const char *phrase; /* of the status line */
    const char *text;   /* one sentence and LF, for the client */
    enum sky_counter counter;
};

/* sky_refusal_row: static; not for SKY_REFUSAL_none. */
const struct sky_refusal_row *sky_refusal_row(enum sky_refusal refusal);

#endif

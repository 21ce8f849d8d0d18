/* SPDX-License-Identifier: Apache-2.0 */
/* The table of refusals. */
#include "proxy/front/http1_refusal.h"

#include <assert.h>

#define PHRASE_400 "Bad Request"
#define PHRASE_405 "Method Not Allowed"
#define PHRASE_408 "Request Timeout"
#define PHRASE_413 "Content Too Large"
#define PHRASE_414 "URI Too Long"
#define PHRASE_417 "Expectation Failed"
#define PHRASE_431 "Request Header Fields Too Large"
#define PHRASE_503 "Service Unavailable"
#define PHRASE_505 "HTTP Version Not Supported"
#define PHRASE_507 "Insufficient Storage"

static const struct sky_refusal_row rows[] = {
    {NULL, 0, NULL, NULL, 0},
#define SKY_REFUSAL(name, status, text) \
    {#name, status, PHRASE_##status, text "\n", SKY_COUNT_refused_##name},
#include "proxy/front/http1_refusal.def"
#undef SKY_REFUSAL
};

const struct sky_refusal_row *sky_refusal_row(enum sky_refusal refusal)
{
    assert(refusal > SKY_REFUSAL_none && refusal < SKY_REFUSAL_COUNT);
    return &rows[refusal];
}

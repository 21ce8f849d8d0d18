/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/exchange/failure.h"

#include <assert.h>

static const struct sky_failure_info infos[SKY_FAILURE_COUNT] = {
#define SKY_FAILURE(name, status, counter, text, page, advice) \
    [SKY_FAILURE_##name] = {status, SKY_COUNT_##counter, text, page, advice},
#include "proxy/exchange/failure.def"
#undef SKY_FAILURE
};

const struct sky_failure_info *sky_failure_info(enum sky_failure failure)
{
    assert(failure > SKY_FAILURE_NONE && failure < SKY_FAILURE_COUNT);
    return &infos[failure];
}

enum sky_failure sky_failure_of_body(enum sky_refusal refusal)
{
    switch (refusal) {
    case SKY_REFUSAL_chunk:
        return SKY_FAILURE_BODY_MALFORMED;
    case SKY_REFUSAL_body_rate:
    case SKY_REFUSAL_body_timeout:
        return SKY_FAILURE_BODY_TIMEOUT;
    case SKY_REFUSAL_body_size:
        return SKY_FAILURE_BODY_TOO_LARGE;
    case SKY_REFUSAL_body_budget:
        return SKY_FAILURE_BODY_BUDGET;
    case SKY_REFUSAL_body_disk_full:
        return SKY_FAILURE_BODY_DISK_FULL;
    default:
        return SKY_FAILURE_BODY_UNBUFFERED;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/failure.h"

#include <assert.h>

static const struct sky_failure_info infos[SKY_FAILURE_COUNT] = {
#define SKY_FAILURE(name, status, counter, text, page, advice) \
    [SKY_FAILURE_##name] = {status, SKY_COUNT_##counter, text, page, advice},
#include "proxy/failure.def"
#undef SKY_FAILURE
};

const struct sky_failure_info *sky_failure_info(enum sky_failure failure)
{
    assert(failure > SKY_FAILURE_NONE && failure < SKY_FAILURE_COUNT);
    return &infos[failure];
}

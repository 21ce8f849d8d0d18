/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/body_budget.h"

#include <stddef.h>

void sky_body_budget_init(struct sky_body_budget *budget, uint64_t limit_bytes)
{
    atomic_init(&budget->limit_bytes, limit_bytes);
    atomic_init(&budget->taken_bytes, 0);
}

void sky_body_budget_set_limit(struct sky_body_budget *budget, uint64_t limit_bytes)
{
    atomic_store_explicit(&budget->limit_bytes, limit_bytes, memory_order_relaxed);
}

uint64_t sky_body_budget_taken(const struct sky_body_budget *budget)
{
    return atomic_load_explicit(&budget->taken_bytes, memory_order_relaxed);
}

static bool take(struct sky_body_budget *budget, uint64_t bytes)
{
    uint64_t limit = atomic_load_explicit(&budget->limit_bytes, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&budget->taken_bytes, memory_order_relaxed);

    do {
        if (taken > limit || bytes > limit - taken)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->taken_bytes, &taken, taken + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void sky_body_share_init(struct sky_body_share *share, struct sky_body_budget *budget)
{
    *share = (struct sky_body_share){.budget = budget};
}

bool sky_body_share_take(struct sky_body_share *share, uint64_t bytes)
{
    if (share->budget == NULL)
        return true;
    if (bytes > share->spare_bytes) {
        uint64_t missing = bytes - share->spare_bytes;
        if (missing < SKY_BODY_BUDGET_STEP_BYTES && take(share->budget, SKY_BODY_BUDGET_STEP_BYTES))
            share->spare_bytes += SKY_BODY_BUDGET_STEP_BYTES;
        else if (take(share->budget, missing))
            share->spare_bytes += missing;
        else
            return false;
    }
    share->spare_bytes -= bytes;
    return true;
}

static void return_spare(struct sky_body_share *share, uint64_t bytes)
{
    share->spare_bytes -= bytes;
    atomic_fetch_sub_explicit(&share->budget->taken_bytes, bytes, memory_order_relaxed);
}

void sky_body_share_give_back(struct sky_body_share *share, uint64_t bytes)
{
    if (share->budget == NULL)
        return;
    share->spare_bytes += bytes;
    if (share->spare_bytes > 2 * SKY_BODY_BUDGET_STEP_BYTES)
        return_spare(share, share->spare_bytes - SKY_BODY_BUDGET_STEP_BYTES);
}

void sky_body_share_fini(struct sky_body_share *share)
{
    if (share->budget != NULL)
        return_spare(share, share->spare_bytes);
    *share = (struct sky_body_share){0};
}

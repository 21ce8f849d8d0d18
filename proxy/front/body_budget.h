/* SPDX-License-Identifier: Apache-2.0 */
/* The bound of all request bodies that are held here, in memory and in files, by all workers.
 *
 * Each loop takes from the budget in steps and keeps what is over as its spare, so that a small
 * body costs no atomic operation. A budget may be exceeded by nobody; up to two steps of a loop
 * may lie idle in its spare. */
#ifndef SKY_PROXY_FRONT_BODY_BUDGET_H
#define SKY_PROXY_FRONT_BODY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SKY_BODY_BUDGET_STEP_BYTES 262144

/* Any thread. */
struct sky_body_budget {
    _Atomic uint64_t limit_bytes;
    _Atomic uint64_t taken_bytes;
};

/* One loop's part; its thread only. Zeroed: without a bound. */
struct sky_body_share {
    struct sky_body_budget *budget;
    uint64_t spare_bytes;
};

void sky_body_budget_init(struct sky_body_budget *budget, uint64_t limit_bytes);

/* sky_body_budget_set_limit: what is held above a smaller limit stays. */
void sky_body_budget_set_limit(struct sky_body_budget *budget, uint64_t limit_bytes);

/* sky_body_budget_taken: bytes that the loops have taken, their spare among them. */
uint64_t sky_body_budget_taken(const struct sky_body_budget *budget);

/* sky_body_share_init: the budget is borrowed for the share's life. */
void sky_body_share_init(struct sky_body_share *share, struct sky_body_budget *budget);

/* sky_body_share_take: false, and nothing is taken, when the budget has not so much left. */
bool sky_body_share_take(struct sky_body_share *share, uint64_t bytes)
    __attribute__((warn_unused_result));

/* sky_body_share_give_back: what was taken before, or a part of it. */
void sky_body_share_give_back(struct sky_body_share *share, uint64_t bytes);

/* sky_body_share_fini: gives the spare back; when everything else was. */
void sky_body_share_fini(struct sky_body_share *share);

#endif

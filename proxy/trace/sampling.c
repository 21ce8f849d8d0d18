/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/sampling.h"

#define WINDOW_US 3000000

/* A state: the window's number above, the count below. */
#define COUNT_BITS 32
#define COUNT_MASK UINT32_MAX

/* The part of all ids that a rate takes lies below this bound; a rate of 1 has none. */
static bool rate_takes(uint32_t rate_ppm, struct sky_id trace)
{
    return rate_ppm >= SKY_RATE_ONE || trace.low < UINT64_MAX / SKY_RATE_ONE * rate_ppm;
}

/* Takes one place of `limit`. A thread whose clock was read before another one began a new window
 * counts in that one: a window never comes back. */
static bool window_takes(struct sky_sampling_window *window, uint32_t limit, int64_t now_us)
{
    uint64_t number = (uint64_t)now_us / WINDOW_US;
    uint64_t state = atomic_load_explicit(&window->state, memory_order_relaxed), next;

    do {
        next = state >> COUNT_BITS < number ? number << COUNT_BITS : state;
        if ((next & COUNT_MASK) >= limit)
            return false;
        next++;
    } while (!atomic_compare_exchange_weak_explicit(&window->state, &state, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static bool may_be_kept(const struct sky_sampling_config *config)
{
    return config->keep_errors || config->keep_slower_than_ms != 0;
}

static bool is_taken(const struct sky_sampling_config *config, struct sky_sampling_window *window,
                     enum sky_sampling_origin origin, struct sky_id trace, int64_t now_us)
{
    switch (origin) {
    case SKY_SAMPLING_JOINED:
        if (config->per_3_seconds != 0)
            window_takes(window, COUNT_MASK, now_us);
        return true;
    case SKY_SAMPLING_JOINED_UNSAMPLED:
        return false;
    case SKY_SAMPLING_OURS:
        break;
    }
    return rate_takes(config->rate_ppm, trace) &&
           (config->per_3_seconds == 0 || window_takes(window, config->per_3_seconds, now_us));
}

enum sky_sampling_verdict sky_sampling_begin(const struct sky_sampling_config *config,
                                             struct sky_sampling_window *window,
                                             enum sky_sampling_origin origin, struct sky_id trace,
                                             int64_t now_us)
{
    if (is_taken(config, window, origin, trace, now_us))
        return SKY_SAMPLING_REPORT;
    return may_be_kept(config) ? SKY_SAMPLING_UNDECIDED : SKY_SAMPLING_LEAVE;
}

enum sky_sampling_kept sky_sampling_end(const struct sky_sampling_config *config, bool failed,
                                        int64_t duration_us)
{
    if (config->keep_errors && failed)
        return SKY_SAMPLING_KEPT_ERROR;
    if (config->keep_slower_than_ms != 0 &&
        duration_us > (int64_t)config->keep_slower_than_ms * 1000)
        return SKY_SAMPLING_KEPT_SLOW;
    return SKY_SAMPLING_LEFT;
}

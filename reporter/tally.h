/* SPDX-License-Identifier: Apache-2.0 */
/* The reporter's counters: written by its thread alone, read by any. */
#ifndef SKY_REPORTER_TALLY_H
#define SKY_REPORTER_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#include "reporter/histogram.h"

enum sky_tally_row {
#define SKY_COUNTER(name, metric, labels, help) SKY_TALLY_##name,
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    SKY_TALLY_COUNT
};

struct sky_tally {
    _Atomic uint64_t rows[SKY_TALLY_COUNT];
    struct sky_histogram batch_segments, call_ms; /* of calls with segments */
};

/* sky_tally_init: all zero. */
static inline void sky_tally_init(struct sky_tally *tally)
{
    static const uint64_t segments[SKY_HISTOGRAM_BOUNDS] = {
        1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000, 300000};
    static const uint64_t ms[SKY_HISTOGRAM_BOUNDS] = {5,   10,   25,   50,   100,   250,
                                                      500, 1000, 2500, 5000, 10000, 30000};

    *tally = (struct sky_tally){.batch_segments.bounds = segments, .call_ms.bounds = ms};
}

/* sky_tally_add: writer's thread only. */
static inline void sky_tally_add(struct sky_tally *tally, enum sky_tally_row row, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&tally->rows[row], memory_order_relaxed);

    atomic_store_explicit(&tally->rows[row], old + n, memory_order_relaxed);
}

/* sky_tally_read: any thread. */
static inline uint64_t sky_tally_read(const struct sky_tally *tally, enum sky_tally_row row)
{
    return atomic_load_explicit(&tally->rows[row], memory_order_relaxed);
}

#endif

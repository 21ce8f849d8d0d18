/* SPDX-License-Identifier: Apache-2.0 */
/* The reporter's counters: written by its thread alone, read by any. */
#ifndef SKY_REPORTER_TALLY_H
#define SKY_REPORTER_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

enum sky_tally_row {
#define SKY_COUNTER(name, metric, labels, help) SKY_TALLY_##name,
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    SKY_TALLY_COUNT
};

struct sky_tally {
    _Atomic uint64_t rows[SKY_TALLY_COUNT];
};

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

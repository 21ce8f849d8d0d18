/* SPDX-License-Identifier: Apache-2.0 */
/* How often values fell below some bounds: written by one thread, read by any. */
#ifndef SKY_REPORTER_HISTOGRAM_H
#define SKY_REPORTER_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SKY_HISTOGRAM_BOUNDS 12

struct sky_histogram {
    const uint64_t *bounds;                            /* SKY_HISTOGRAM_BOUNDS of them, rising */
    _Atomic uint64_t counts[SKY_HISTOGRAM_BOUNDS + 1]; /* the last: above all bounds */
    _Atomic uint64_t sum;
};

/* A snapshot; the counts are not cumulated. */
struct sky_histogram_values {
    const uint64_t *bounds;
    uint64_t counts[SKY_HISTOGRAM_BOUNDS + 1];
    uint64_t sum;
};

/* sky_histogram_add: writer's thread only. */
static inline void sky_histogram_add(struct sky_histogram *histogram, uint64_t value)
{
    size_t i = 0;

    while (i < SKY_HISTOGRAM_BOUNDS && value > histogram->bounds[i])
        i++;
    uint64_t count = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    atomic_store_explicit(&histogram->counts[i], count + 1, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    atomic_store_explicit(&histogram->sum, sum + value, memory_order_relaxed);
}

/* sky_histogram_read: any thread. */
static inline struct sky_histogram_values sky_histogram_read(const struct sky_histogram *histogram)
{
    struct sky_histogram_values values = {.bounds = histogram->bounds};

    for (size_t i = 0; i <= SKY_HISTOGRAM_BOUNDS; i++)
        values.counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    values.sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    return values;
}

#endif

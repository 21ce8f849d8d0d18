/* SPDX-License-Identifier: Apache-2.0 */
/* The open entries by segment id, and what a stitch remembers beyond them: segments that were given
 * up, and upstreams in which a helper was seen. All of fixed size: no allocation. */
#ifndef SKY_PROXY_STITCH_STITCH_TABLE_H
#define SKY_PROXY_STITCH_STITCH_TABLE_H

#include <h2o.h>

#include "propagation/ids.h"

struct sky_stitch_entry;

/* 32 KiB; 2048 requests at once make chains of one. */
#define SKY_STITCH_BUCKET_COUNT 2048
/* Segments given up, to tell a late message from a stray one. */
#define SKY_STITCH_MAX_GIVEN_UP 64
/* With more upstreams the one seen first is forgotten. */
#define SKY_STITCH_MAX_UPSTREAMS 64

struct sky_stitch_table {
    h2o_linklist_t buckets[SKY_STITCH_BUCKET_COUNT];
    struct sky_id given_up[SKY_STITCH_MAX_GIVEN_UP]; /* a ring */
    size_t given_up_next;
    const void *upstreams[SKY_STITCH_MAX_UPSTREAMS]; /* a ring */
    size_t upstream_count, upstream_next;
};

void sky_stitch_table_init(struct sky_stitch_table *table);

/* sky_stitch_table_add: by entry->segment; entry->bucket is unlinked to take it out. */
void sky_stitch_table_add(struct sky_stitch_table *table, struct sky_stitch_entry *entry);

/* sky_stitch_table_find: NULL when the segment is not open. */
struct sky_stitch_entry *sky_stitch_table_find(const struct sky_stitch_table *table,
                                               struct sky_id segment);

void sky_stitch_table_give_up(struct sky_stitch_table *table, struct sky_id segment);
bool sky_stitch_table_was_given_up(const struct sky_stitch_table *table, struct sky_id segment);

void sky_stitch_table_see_helper(struct sky_stitch_table *table, const void *upstream);
bool sky_stitch_table_has_helper(const struct sky_stitch_table *table, const void *upstream);

static inline bool sky_stitch_same_id(struct sky_id a, struct sky_id b)
{
    return a.low == b.low && a.high == b.high;
}

#endif

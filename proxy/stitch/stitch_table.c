/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_table.h"

#include "proxy/stitch/stitch.h"

/* The ids are random bits: no hash is needed. */
static size_t bucket_of(struct sky_id segment)
{
    return segment.low % SKY_STITCH_BUCKET_COUNT;
}

void sky_stitch_table_init(struct sky_stitch_table *table)
{
    memset(table, 0, sizeof(*table));
    for (size_t i = 0; i < SKY_STITCH_BUCKET_COUNT; i++)
        h2o_linklist_init_anchor(&table->buckets[i]);
}

void sky_stitch_table_add(struct sky_stitch_table *table, struct sky_stitch_entry *entry)
{
    h2o_linklist_insert(&table->buckets[bucket_of(entry->segment)], &entry->bucket);
}

struct sky_stitch_entry *sky_stitch_table_find(const struct sky_stitch_table *table,
                                               struct sky_id segment)
{
    const h2o_linklist_t *bucket = &table->buckets[bucket_of(segment)];
    for (h2o_linklist_t *link = bucket->next; link != bucket; link = link->next) {
        struct sky_stitch_entry *entry =
            H2O_STRUCT_FROM_MEMBER(struct sky_stitch_entry, bucket, link);
        if (sky_stitch_same_id(entry->segment, segment))
            return entry;
    }
    return NULL;
}

void sky_stitch_table_give_up(struct sky_stitch_table *table, struct sky_id segment)
{
    table->given_up[table->given_up_next++ % SKY_STITCH_MAX_GIVEN_UP] = segment;
}

bool sky_stitch_table_was_given_up(const struct sky_stitch_table *table, struct sky_id segment)
{
    for (size_t i = 0; i < SKY_STITCH_MAX_GIVEN_UP; i++) {
        if (sky_stitch_same_id(table->given_up[i], segment))
            return true;
    }
    return false;
}

void sky_stitch_table_see_helper(struct sky_stitch_table *table, const void *upstream)
{
    if (sky_stitch_table_has_helper(table, upstream))
        return;
    table->upstreams[table->upstream_next++ % SKY_STITCH_MAX_UPSTREAMS] = upstream;
    if (table->upstream_count < SKY_STITCH_MAX_UPSTREAMS)
        table->upstream_count++;
}

bool sky_stitch_table_has_helper(const struct sky_stitch_table *table, const void *upstream)
{
    for (size_t i = 0; i < table->upstream_count; i++) {
        if (table->upstreams[i] == upstream)
            return true;
    }
    return false;
}

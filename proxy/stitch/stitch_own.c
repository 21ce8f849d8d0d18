/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_own.h"

#include <jansson.h>

#include "propagation/utf8.h"
#include "proxy/stitch/stitch_merge.h"

/* The helper's number of the root; SkyWalking's is 0. */
#define ROOT 1
#define MAX_NAME_BYTES 200
/* Until the year 33658; sums with durations cannot overflow. */
#define MAX_AT_US INT64_C(1000000000000000000)

static struct sky_text text_of(const json_t *value)
{
    return sky_text(json_string_value(value), json_string_length(value));
}

/* Empty unless it is a sound text of at most max bytes. */
static struct sky_text sound_text(const json_t *object, const char *key, size_t max)
{
    struct sky_text text = text_of(json_object_get(object, key));
    if (text.len > max || !sky_utf8_valid(text))
        return sky_text(NULL, 0);
    return text;
}

static struct sky_app_span *find_root(const struct sky_app_part *part)
{
    for (struct sky_app_span *span = part->spans; span != NULL; span = span->next) {
        if (span->id == ROOT)
            return span;
    }
    return NULL;
}

/* Defective ones are left out. */
static void read_refs(const json_t *array, h2o_mem_pool_t *pool, struct sky_stitch_own *own)
{
    size_t size = json_array_size(array);
    if (size > SKY_STITCH_MAX_REFS)
        size = SKY_STITCH_MAX_REFS;
    if (size == 0)
        return;
    struct sky_sw8 *refs = h2o_mem_alloc_pool(pool, size * sizeof(*refs));
    for (size_t i = 0; i < size; i++) {
        struct sky_text value = text_of(json_array_get(array, i));
        if (value.len == 0 || value.len > SKY_SW8_MAX_BYTES)
            continue;
        char *storage = h2o_mem_alloc_pool(pool, SKY_SW8_MAX_BYTES);
        if (sky_sw8_parse(value, storage, &refs[own->ref_count]))
            own->ref_count++;
    }
    own->refs = refs;
}

/* To SkyWalking's numbers: 0 for the root, whose parent is -1. What lost its parent hangs under the
 * root, which no other span may stand beside. */
static void renumber(struct sky_span *spans, size_t count, enum sky_span_type root_type)
{
    for (size_t i = 0; i < count; i++) {
        bool is_root = spans[i].id == ROOT;
        spans[i].parent = is_root ? -1 : (spans[i].parent > 0 ? spans[i].parent : ROOT) - ROOT;
        spans[i].id -= ROOT;
    }
    spans[0].type = root_type;
}

static void take_spans(const struct sky_stitch_message *message, h2o_mem_pool_t *pool,
                       struct sky_app_part *part, struct sky_stitch_taken *taken)
{
    memset(part, 0, sizeof(*part));
    part->spans_end = &part->spans;
    sky_stitch_message_take(message, pool, part, taken);
    part->arrived = 1;
    part->last = true;
}

bool sky_stitch_own_read(const struct sky_stitch_message *message, h2o_mem_pool_t *pool,
                         struct sky_stitch_own *own)
{
    const json_t *root = message->root;
    struct sky_app_part part;
    struct sky_stitch_taken taken;
    struct sky_stitch_merged merged;

    int64_t at_us = json_integer_value(json_object_get(root, "at"));
    *own = (struct sky_stitch_own){
        .segment = message->segment,
        .trace_id = sound_text(root, "trace", SKY_SW8_MAX_ID_BYTES),
        .service = sound_text(root, "service", MAX_NAME_BYTES),
        .instance = sound_text(root, "instance", MAX_NAME_BYTES),
    };
    if (own->trace_id.len == 0 || at_us <= 0 || at_us > MAX_AT_US)
        return false;
    take_spans(message, pool, &part, &taken);
    struct sky_app_span *first = find_root(&part);
    if (first == NULL)
        return false;
    first->begin_us = 0; /* `at` is when it began, whatever else it says */
    own->duration_us = first->duration_us > 0 ? first->duration_us : 0;
    struct sky_stitch_window window = {at_us, at_us + own->duration_us};
    sky_stitch_merge_part(pool, &part, &window, &merged);
    own->spans = merged.spans;
    own->span_count = merged.span_count;
    own->size_limited = merged.size_limited || merged.duplicate_ids != 0 || taken.bad_spans != 0;
    renumber(own->spans, own->span_count, first->type);
    read_refs(json_object_get(root, "refs"), pool, own);
    return true;
}

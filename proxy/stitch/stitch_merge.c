/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_merge.h"

/* Clocks of two processes differ by less; beyond it somebody sends nonsense. */
#define TIME_SLACK_US 1000000

struct merge {
    h2o_mem_pool_t *pool;
    const struct sky_app_part *part;
    const struct sky_stitch_window *window;
    struct sky_stitch_merged *merged;
};

static const struct sky_text *handler_of(const struct sky_app_part *part)
{
    return part->handler.len != 0 ? &part->handler : &part->head.handler;
}

static int32_t component_of(const struct sky_app_part *part)
{
    return part->component != 0 ? part->component : part->head.component;
}

/* Whether parts are known to be missing. */
static bool is_incomplete(const struct sky_app_part *part)
{
    if (part->truncated || part->head.lost != 0)
        return true;
    if (part->last)
        return part->arrived <= part->last_seq;
    if (part->head.stream && !part->head.if_broken)
        return true;
    return part->arrived != 0 || part->arrived < part->head.announced;
}

/* The app's span when no message describes it: from the header alone. NULL when there is none. */
static const struct sky_app_span *span_of_header(struct merge *merge)
{
    const struct sky_app_part *part = merge->part;
    if (!part->header || handler_of(part)->len == 0)
        return NULL;
    struct sky_app_span *span = h2o_mem_alloc_pool(merge->pool, sizeof(*span));
    *span = (struct sky_app_span){
        .id = 1,
        .type = SKY_SPAN_LOCAL,
        .layer = SKY_LAYER_UNKNOWN,
        .begin_us = part->head.begin_us,
        .duration_us = part->head.duration_us,
    };
    return span;
}

/* Puts a span into its place by id; false when the id is taken. Nearly always the last place. */
static bool insert(const struct sky_app_span **sorted, size_t count,
                   const struct sky_app_span *span)
{
    size_t at = count;
    while (at > 0 && sorted[at - 1]->id > span->id)
        at--;
    if (at > 0 && sorted[at - 1]->id == span->id)
        return false;
    memmove(&sorted[at + 1], &sorted[at], (count - at) * sizeof(*sorted));
    sorted[at] = span;
    return true;
}

static size_t sort_spans(struct merge *merge, const struct sky_app_span **sorted)
{
    size_t count = 0;
    for (const struct sky_app_span *span = merge->part->spans; span != NULL; span = span->next) {
        if (insert(sorted, count, span))
            count++;
        else
            merge->merged->duplicate_ids++;
    }
    if (count == 0 || sorted[0]->id != 1) {
        const struct sky_app_span *span = span_of_header(merge);
        if (span != NULL && insert(sorted, count, span))
            count++;
    }
    return count;
}

/* The parent as sent if it is the entry span or one of the `count` spans before this one. */
static int32_t parent_of(struct merge *merge, const struct sky_app_span *const *sorted,
                         size_t count, int32_t parent)
{
    if (parent == 0)
        return 0;
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted[middle]->id == parent)
            return parent;
        if (sorted[middle]->id < parent)
            low = middle + 1;
        else
            high = middle;
    }
    merge->merged->bad_parents++;
    return 0;
}

/* Milliseconds since 1970 of a time after t0, moved into the entry span. */
static int64_t clamp_ms(const struct sky_stitch_window *window, int64_t us)
{
    int64_t at_us = window->t0_us + us;
    if (at_us < window->t0_us)
        at_us = window->t0_us;
    if (at_us > window->end_us)
        at_us = window->end_us;
    return sky_stitch_floor_ms(at_us);
}

static void set_times(struct merge *merge, const struct sky_app_span *from, struct sky_span *to)
{
    int64_t length_us = merge->window->end_us - merge->window->t0_us;
    int64_t duration_us = from->duration_us < 0 ? 0 : from->duration_us;
    int64_t end_us = from->begin_us + duration_us;
    if (from->begin_us < -TIME_SLACK_US || from->duration_us < 0 ||
        end_us > length_us + TIME_SLACK_US)
        merge->merged->bad_times++;
    to->start_ms = clamp_ms(merge->window, from->begin_us);
    to->end_ms = clamp_ms(merge->window, end_us);
}

static void set_logs(struct merge *merge, const struct sky_app_span *from, struct sky_span *to)
{
    if (from->log_count == 0)
        return;
    struct sky_span_log *logs = h2o_mem_alloc_pool(merge->pool, from->log_count * sizeof(*logs));
    for (size_t i = 0; i < from->log_count; i++) {
        logs[i] = (struct sky_span_log){
            .at_ms = clamp_ms(merge->window, from->logs[i].at_us),
            .data = from->logs[i].data,
            .data_count = from->logs[i].data_count,
        };
    }
    to->logs = logs;
    to->log_count = from->log_count;
}

static void convert(struct merge *merge, const struct sky_app_span *const *sorted, size_t index)
{
    const struct sky_app_span *from = sorted[index];
    struct sky_span *to = &merge->merged->spans[index];

    *to = (struct sky_span){
        .id = from->id,
        .parent = parent_of(merge, sorted, index, from->parent),
        .operation = from->operation,
        .peer = from->peer,
        .type = from->type == SKY_SPAN_ENTRY ? SKY_SPAN_LOCAL : from->type,
        .layer = from->layer,
        .component = from->component,
        .error = from->error,
        .tags = from->tags,
        .tag_count = from->tag_count,
    };
    if (from->id == 1 && from->component == 0)
        to->component = component_of(merge->part);
    if (from->id == 1 && from->operation.len == 0)
        to->operation = *handler_of(merge->part);
    if (to->operation.len == 0)
        to->operation = SKY_TEXT("unknown");
    set_times(merge, from, to);
    set_logs(merge, from, to);
}

void sky_stitch_merge_part(h2o_mem_pool_t *pool, const struct sky_app_part *part,
                           const struct sky_stitch_window *window, struct sky_stitch_merged *merged)
{
    struct merge merge = {pool, part, window, merged};

    *merged = (struct sky_stitch_merged){
        .component = component_of(part),
        .operation = part->operation.len != 0 ? part->operation : part->head.operation,
        .size_limited = is_incomplete(part),
    };
    size_t max = part->span_count + 1; /* one more for the header's */
    const struct sky_app_span **sorted = h2o_mem_alloc_pool(pool, max * sizeof(*sorted));
    merged->span_count = sort_spans(&merge, sorted);
    if (merged->span_count == 0)
        return;
    merged->spans = h2o_mem_alloc_pool(pool, merged->span_count * sizeof(*merged->spans));
    for (size_t i = 0; i < merged->span_count; i++)
        convert(&merge, sorted, i);
}

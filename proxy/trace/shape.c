/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/shape.h"

/* The helper's span of the handler; ids count from it (docs/stitch-protocol.md). */
#define HANDLER_SPAN 1

/* The text under the key, or none. */
static struct sky_text find(const struct sky_span_log *log, struct sky_text key)
{
    for (size_t i = 0; i < log->data_count; i++) {
        if (sky_text_equal(log->data[i].key, key))
            return log->data[i].value;
    }
    return (struct sky_text){0};
}

/* What the agent logs of an exception; other logs stay as they are. */
static void set_traceback(h2o_mem_pool_t *pool, struct sky_span_log *log)
{
    struct sky_text stack = find(log, SKY_TEXT("stack"));
    if (stack.len == 0)
        return;
    struct sky_tag *data = h2o_mem_alloc_pool(pool, sizeof(*data));
    *data = (struct sky_tag){SKY_TEXT("Traceback"), stack};
    log->data = data;
    log->data_count = 1;
}

static void set_tracebacks(h2o_mem_pool_t *pool, struct sky_span *span)
{
    if (span->log_count == 0)
        return;
    struct sky_span_log *logs = h2o_mem_alloc_pool(pool, span->log_count * sizeof(*logs));
    for (size_t i = 0; i < span->log_count; i++) {
        logs[i] = span->logs[i];
        set_traceback(pool, &logs[i]);
    }
    span->logs = logs;
}

/* What the app has said of its request goes behind what we say. */
static void add_tags(h2o_mem_pool_t *pool, struct sky_span *entry, const struct sky_span *span)
{
    if (span->tag_count == 0)
        return;
    size_t count = entry->tag_count + span->tag_count;
    struct sky_tag *tags = h2o_mem_alloc_pool(pool, count * sizeof(*tags));
    for (size_t i = 0; i < count; i++)
        tags[i] = i < entry->tag_count ? entry->tags[i] : span->tags[i - entry->tag_count];
    entry->tags = tags;
    entry->tag_count = count;
}

void sky_shape_as_agent(h2o_mem_pool_t *pool, struct sky_stitch_merged *app, struct sky_span *entry)
{
    size_t kept = 0;
    for (size_t i = 0; i < app->span_count; i++) {
        struct sky_span *span = &app->spans[i];
        set_tracebacks(pool, span);
        if (span->id == HANDLER_SPAN && span->type == SKY_SPAN_LOCAL) {
            entry->logs = span->logs;
            entry->log_count = span->log_count;
            add_tags(pool, entry, span);
            continue;
        }
        if (span->parent == HANDLER_SPAN)
            span->parent = 0;
        app->spans[kept++] = *span;
    }
    app->span_count = kept;
}

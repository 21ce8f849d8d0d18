/* SPDX-License-Identifier: Apache-2.0 */
/* Message of the stitch protocol, up to the spans of the segment: whatever comes in, the spans that
 * go out are sorted by ids that differ, hang together, and lie in the entry span. */
#include <stdlib.h>

#include "propagation/utf8.h"
#include "proxy/stitch/stitch_merge.h"
#include "proxy/stitch/stitch_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define T0_US INT64_C(1700000000123456)
#define END_US (T0_US + 8000)

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_text(struct sky_text text)
{
    require(sky_utf8_valid(text)); /* which NUL is not */
}

static void check_tags(const struct sky_tag *tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        require(tags[i].key.len != 0);
        check_text(tags[i].key);
        check_text(tags[i].value);
    }
}

static bool has_parent(const struct sky_stitch_merged *merged, size_t index)
{
    int32_t parent = merged->spans[index].parent;
    for (size_t i = 0; i < index; i++) {
        if (merged->spans[i].id == parent)
            return true;
    }
    return parent == 0;
}

static bool within(int64_t ms)
{
    return ms >= sky_stitch_floor_ms(T0_US) && ms <= sky_stitch_floor_ms(END_US);
}

static void check_span(const struct sky_stitch_merged *merged, size_t index)
{
    const struct sky_span *span = &merged->spans[index];
    require(span->id > (index == 0 ? 0 : merged->spans[index - 1].id));
    require(has_parent(merged, index));
    require(within(span->start_ms) && within(span->end_ms) && span->start_ms <= span->end_ms);
    require(span->operation.len != 0 && span->component >= 0);
    check_text(span->operation);
    check_text(span->peer);
    require(span->tag_count <= SKY_STITCH_MAX_TAGS && span->log_count <= SKY_STITCH_MAX_LOGS);
    check_tags(span->tags, span->tag_count);
    for (size_t i = 0; i < span->log_count; i++) {
        require(within(span->logs[i].at_ms));
        require(span->logs[i].data_count != 0 && span->logs[i].data_count <= SKY_STITCH_MAX_DATA);
        check_tags(span->logs[i].data, span->logs[i].data_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_stitch_message message;
    switch (sky_stitch_message_read(sky_text((const char *)data, size), &message)) {
    case SKY_STITCH_MESSAGE_OK:
        break;
    case SKY_STITCH_MESSAGE_PROCESS:
    case SKY_STITCH_MESSAGE_OWN:
        sky_stitch_message_fini(&message);
        return 0;
    case SKY_STITCH_MESSAGE_BAD:
    case SKY_STITCH_MESSAGE_VERSION:
        return 0;
    }
    require(message.seq < SKY_APP_MAX_PARTS);

    h2o_mem_pool_t pool;
    struct sky_app_part part = {.spans_end = &part.spans};
    struct sky_stitch_taken taken;
    struct sky_stitch_merged merged;
    struct sky_stitch_window window = {T0_US, END_US};
    h2o_mem_init_pool(&pool);
    sky_stitch_message_take(&message, &pool, &part, &taken);
    sky_stitch_message_fini(&message);
    sky_stitch_merge_part(&pool, &part, &window, &merged);
    require(merged.span_count <= SKY_STITCH_MAX_SPANS);
    check_text(merged.operation);
    for (size_t i = 0; i < merged.span_count; i++)
        check_span(&merged, i);
    h2o_mem_clear_pool(&pool);
    return 0;
}

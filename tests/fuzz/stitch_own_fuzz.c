/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of the app's own: whatever comes in, what goes out has one root, and can be packed. */
#include <stdlib.h>

#include "propagation/utf8.h"
#include "proxy/stitch/stitch_own.h"
#include "reporter/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_spans(const struct sky_stitch_own *own)
{
    require(own->span_count >= 1 && own->spans[0].id == 0 && own->spans[0].parent == -1);
    for (size_t i = 1; i < own->span_count; i++) {
        const struct sky_span *span = &own->spans[i];
        require(span->id > own->spans[i - 1].id);
        require(span->parent >= 0 && span->parent < span->id);
        require(span->type != SKY_SPAN_ENTRY);
        require(span->start_ms >= own->spans[0].start_ms && span->end_ms <= own->spans[0].end_ms);
    }
}

static void check_pack(const struct sky_stitch_own *own)
{
    struct sky_segment segment = {.trace_id = own->trace_id,
                                  .segment_id = SKY_TEXT("s"),
                                  .service = own->service,
                                  .instance = own->instance,
                                  .spans = own->spans,
                                  .span_count = own->span_count};
    free(sky_segment_pack(&segment));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_stitch_message message;
    struct sky_stitch_own own;
    h2o_mem_pool_t pool;

    enum sky_stitch_message_result result =
        sky_stitch_message_read(sky_text((const char *)data, size), &message);
    if (result == SKY_STITCH_MESSAGE_OWN) {
        h2o_mem_init_pool(&pool);
        if (sky_stitch_own_read(&message, &pool, &own)) {
            require(own.trace_id.len != 0 && sky_utf8_valid(own.trace_id));
            require(own.ref_count <= SKY_STITCH_MAX_REFS && own.duration_us >= 0);
            check_spans(&own);
            check_pack(&own);
        }
        h2o_mem_clear_pool(&pool);
    }
    if (result != SKY_STITCH_MESSAGE_BAD && result != SKY_STITCH_MESSAGE_VERSION)
        sky_stitch_message_fini(&message);
    return 0;
}

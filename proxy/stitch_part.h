/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper said about one request, as values. Texts point into the trace's pool. */
#ifndef SKY_PROXY_STITCH_PART_H
#define SKY_PROXY_STITCH_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"
#include "reporter/segment.h"

struct sky_app_log {
    int64_t at_us; /* after t0 */
    const struct sky_tag *data;
    size_t data_count;
};

/* One span of the app's; ids and parents as sent, not yet checked against each other. */
struct sky_app_span {
    struct sky_app_span *next; /* in order of arrival */
    int32_t id, parent;
    enum sky_span_type type; /* exit or local */
    enum sky_layer layer;
    int32_t component;
    struct sky_text operation, peer;
    int64_t begin_us, duration_us; /* begin after t0 */
    bool error;
    const struct sky_tag *tags;
    size_t tag_count;
    const struct sky_app_log *logs;
    size_t log_count;
};

struct sky_app_part {
    bool header;              /* a sound sw8-stitch field came */
    int32_t component;        /* 0: unknown */
    int64_t begin_us, duration_us; /* of the app's span, from the header */
    struct sky_text handler, operation; /* empty: none; the message's beat the header's */
    uint32_t announced;       /* messages that the header says are on their way */
    bool stream;              /* `+`: one closing message follows */
    uint32_t arrived;         /* messages taken */
    bool last;                /* the closing message has come */
    bool size_limited;        /* something is known to be missing */
    struct sky_app_span *spans, **spans_end;
    size_t span_count;
};

#endif

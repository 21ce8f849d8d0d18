/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper said about one request, as values. Texts point into the trace's pool. */
#ifndef SKY_PROXY_STITCH_STITCH_PART_H
#define SKY_PROXY_STITCH_STITCH_PART_H

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
    int32_t id, parent;        /* id >= 1, parent >= 0 */
    enum sky_span_type type;   /* entry only of a segment of the app's own */
    enum sky_layer layer;
    int32_t component;
    struct sky_text operation, peer;
    int64_t begin_us, duration_us; /* begin after t0; any values */
    bool error;
    const struct sky_tag *tags;
    size_t tag_count;
    const struct sky_app_log *logs;
    size_t log_count;
};

/* The answer's sw8-stitch field. */
struct sky_app_header {
    int32_t component;             /* 0: unknown */
    int64_t begin_us, duration_us; /* of the app's span, begin after t0; until the head was made */
    uint32_t announced;            /* messages handed to the kernel already */
    bool stream;                   /* `+`: one closing message follows */
    bool if_broken;                /* `?`: a stream too, but only if it breaks does one come */
    uint32_t lost;             /* `!k`: messages of the app's process lost since its last report */
    struct sky_text handler;   /* empty: no span for it */
    struct sky_text operation; /* empty: no route known */
};

/* Parts of one request: 64 of 48 KiB are what a segment can hold at most. */
#define SKY_APP_MAX_PARTS 64

struct sky_app_part {
    bool header;    /* a sound sw8-stitch field came: head is set */
    bool last;      /* the closing message has come */
    bool ignored;   /* the app wants nothing of this request to be reported */
    bool truncated; /* the helper or our bounds left something out */
    struct sky_app_header head;
    /* From messages; they beat the header. */
    uint32_t arrived;  /* messages taken */
    uint32_t last_seq; /* of the closing one */
    uint64_t seqs;     /* bit n: part n has come */
    int32_t component; /* 0: none said */
    struct sky_text handler, operation;
    struct sky_app_span *spans, **spans_end;
    size_t span_count;
};

#endif

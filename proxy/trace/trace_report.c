/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "proxy/exchange/failure.h"
#include "proxy/stitch/stitch_merge.h"
#include "proxy/trace/shape.h"
#include "proxy/trace/trace_state.h"
#include "reporter/segment.h"

/* component-libraries.yml: what names the entry until the helper says Flask or Django, and the exit
 * towards a service of its own. */
#define COMPONENT_HTTP 49

/* The id of the app's own span, as the helper numbers. */
#define APP_SPAN 1

#define MAX_TAGS 11

/* The entry span's tags; texts point into the buffers here or into the trace. */
struct entry_tags {
    struct sky_tag tags[MAX_TAGS];
    size_t count;
    char status[3];
    char in_bytes[24], out_bytes[24], queue_ms[24];
};

static void add_tag(struct entry_tags *tags, struct sky_text key, struct sky_text value)
{
    tags->tags[tags->count++] = (struct sky_tag){key, value};
}

/* A status has three digits (RFC 9110, 15). */
static void put_status(char dst[3], int status)
{
    dst[0] = (char)('0' + status / 100 % 10);
    dst[1] = (char)('0' + status / 10 % 10);
    dst[2] = (char)('0' + status % 10);
}

static void add_number(struct entry_tags *tags, struct sky_text key, char text[24], uint64_t number)
{
    int len = snprintf(text, 24, "%" PRIu64, number);

    add_tag(tags, key, sky_text(text, (size_t)len));
}

static void collect_tags(const struct sky_trace *trace, struct entry_tags *tags)
{
    add_tag(tags, SKY_TEXT("http.method"), trace->method);
    add_tag(tags, SKY_TEXT("http.url"), trace->url);
    if (trace->params.len != 0)
        add_tag(tags, SKY_TEXT("http.params"), trace->params);
    if (trace->headers.len != 0)
        add_tag(tags, SKY_TEXT("http.headers"), trace->headers);
    if (trace->outcome.status != 0) {
        put_status(tags->status, trace->outcome.status);
        add_tag(tags, SKY_TEXT("http.status_code"), sky_text(tags->status, sizeof(tags->status)));
    }
    if (trace->outcome.failure != NULL)
        add_tag(tags, SKY_TEXT("failure"), sky_text_of(trace->outcome.failure));
    if (trace->queued_us != 0)
        add_number(tags, SKY_TEXT("queue_ms"), tags->queue_ms,
                   (uint64_t)(trace->queued_us - trace->received_us) / 1000);
    if (trace->outcome.tunnel) {
        add_number(tags, SKY_TEXT("tunnel.bytes_in"), tags->in_bytes,
                   trace->outcome.tunnel_in_bytes);
        add_number(tags, SKY_TEXT("tunnel.bytes_out"), tags->out_bytes,
                   trace->outcome.tunnel_out_bytes);
    }
    if (trace->outcome.client_gone)
        add_tag(tags, SKY_TEXT("client_gone"), SKY_TEXT("true"));
}

struct sky_ref sky_trace_ref(const struct sky_sw8 *parent)
{
    return (struct sky_ref){
        .type = SKY_REF_CROSS_PROCESS,
        .trace_id = parent->trace_id,
        .segment_id = parent->segment_id,
        .span_id = parent->span_id,
        .service = parent->service,
        .instance = parent->instance,
        .endpoint = parent->endpoint,
        .address = parent->address,
    };
}

bool sky_trace_failed(const struct sky_trace *trace)
{
    const struct sky_trace_outcome *outcome = &trace->outcome;
    return !outcome->client_gone &&
           sky_stitch_entry_error(outcome->status, trace->tenure->config->agent.error_status,
                                  outcome->cut);
}

static struct sky_span make_entry(const struct sky_trace *trace,
                                  const struct sky_stitch_merged *app,
                                  const struct entry_tags *tags, const struct sky_ref *ref)
{
    return (struct sky_span){
        .id = 0,
        .parent = -1,
        .start_ms = sky_stitch_floor_ms(trace->received_us),
        .end_ms = sky_stitch_floor_ms(trace->end_us),
        .operation = app->operation.len != 0 ? app->operation : trace->operation,
        .peer = trace->peer,
        .type = SKY_SPAN_ENTRY,
        .layer = SKY_LAYER_HTTP,
        .component = app->component != 0 ? app->component : COMPONENT_HTTP,
        .error = sky_trace_failed(trace),
        .skip_analysis = trace->skip_analysis,
        .tags = tags->tags,
        .tag_count = tags->count,
        .refs = ref,
        .ref_count = trace->joined ? 1 : 0,
    };
}

/* mode gateway: the service behind has an agent of its own; its entry refers to this span. */
static struct sky_span make_exit(const struct sky_trace *trace, const struct entry_tags *tags)
{
    return (struct sky_span){
        .id = 1,
        .parent = 0,
        .start_ms = sky_stitch_floor_ms(trace->received_us),
        .end_ms = sky_stitch_floor_ms(trace->end_us),
        .operation = trace->operation,
        .peer = sky_text_of(trace->server->text),
        .type = SKY_SPAN_EXIT,
        .layer = SKY_LAYER_HTTP,
        .component = COMPONENT_HTTP,
        .error =
            trace->outcome.cut || trace->outcome.failure != NULL || trace->outcome.status >= 500,
        .skip_analysis = trace->skip_analysis,
        .tags = tags->tags,
        .tag_count = tags->count,
    };
}

void sky_trace_push(struct sky_worker *worker, const struct sky_segment *segment)
{
    struct sky_packet *packet = sky_segment_pack(segment);
    if (packet == NULL) {
        sky_count(&worker->counters, SKY_COUNT_segments_unpacked);
        return;
    }
    sky_count(&worker->counters, SKY_COUNT_segments_made);
    sky_ring_push(worker->ring, packet);
    if (sky_ring_high_water(worker->ring))
        sky_reporter_wake(worker->reporter);
}

bool sky_trace_broke_unseen(const struct sky_trace *trace)
{
    const struct sky_trace_outcome *outcome = &trace->outcome;
    const struct sky_app_part *part = &trace->entry.part;
    if (outcome->failure != NULL || outcome->cut || outcome->client_gone || outcome->tunnel)
        return false;
    const struct sky_app_span *span = part->head.stream ? part->spans : NULL;
    while (span != NULL && span->id != APP_SPAN)
        span = span->next;
    return span != NULL && span->error;
}

/* The entry span, then the exit of mode gateway or what the helper said. */
static const struct sky_span *collect_spans(struct sky_trace *trace, struct entry_tags *tags,
                                            const struct sky_ref *ref, size_t *count,
                                            bool *size_limited)
{
    struct sky_stitch_merged app = {0};
    bool attempted = trace->server != NULL;
    if (trace->worker->stitch != NULL && attempted) {
        struct sky_stitch_window window = {trace->received_us, trace->end_us};
        sky_stitch_merge(trace->worker->stitch, &trace->entry, &window, &app);
    }
    struct sky_span *spans =
        h2o_mem_alloc_pool(&trace->pool, (app.span_count + 2) * sizeof(*spans));
    bool broke = sky_trace_broke_unseen(trace);
    if (broke) {
        const struct sky_failure_info *cut = sky_failure_info(SKY_FAILURE_CUT);
        sky_count(&trace->worker->counters, cut->counter);
        add_tag(tags, SKY_TEXT("failure"), sky_text_of(cut->text));
    }
    spans[0] = make_entry(trace, &app, tags, ref);
    spans[0].error |= broke;
    if (trace->tenure->config->agent.shape == SKY_SHAPE_AGENT) {
        spans[0].operation = trace->operation;
        sky_shape_as_agent(&trace->pool, &app, &spans[0]);
    }
    *count = 1;
    if (trace->worker->stitch == NULL && attempted)
        spans[(*count)++] = make_exit(trace, tags);
    for (size_t i = 0; i < app.span_count; ++i) {
        spans[*count] = app.spans[i];
        spans[(*count)++].skip_analysis = trace->skip_analysis;
    }
    *size_limited = app.size_limited;
    return spans;
}

void sky_trace_report(struct sky_stitch_entry *entry)
{
    struct sky_trace *trace = H2O_STRUCT_FROM_MEMBER(struct sky_trace, entry, entry);
    const struct sky_config *config = trace->tenure->config;
    struct entry_tags tags = {.count = 0};
    struct sky_ref ref;
    if (entry->part.ignored) {
        sky_count(&trace->worker->counters, SKY_COUNT_untraced_app);
        sky_trace_free(trace);
        return;
    }
    if (trace->joined)
        ref = sky_trace_ref(&trace->parent);
    collect_tags(trace, &tags);
    struct sky_segment segment = {
        .trace_id = trace->trace_id,
        .segment_id = sky_text(trace->segment_hex, SKY_ID_HEX),
        .service = sky_text_of(config->agent.service),
        .instance = sky_text_of(config->agent.instance),
    };
    segment.spans = collect_spans(trace, &tags, &ref, &segment.span_count, &segment.size_limited);
    sky_trace_push(trace->worker, &segment);
    sky_trace_free(trace);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/trace_own.h"

#include <time.h>

#include "proxy/stitch/stitch_own.h"
#include "proxy/trace/sampling.h"
#include "proxy/trace/trace_state.h"
#include "proxy/worker.h"

static int64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool is_kept(struct sky_worker *worker, const struct sky_stitch_own *own)
{
    const struct sky_sampling_config *config = &worker->config->agent.sampling;
    enum sky_sampling_origin origin = own->ref_count == 0    ? SKY_SAMPLING_OURS
                                      : own->refs[0].sampled ? SKY_SAMPLING_JOINED
                                                             : SKY_SAMPLING_JOINED_UNSAMPLED;
    switch (sky_sampling_begin(config, worker->sampling, origin, own->segment, monotonic_us())) {
    case SKY_SAMPLING_REPORT:
        sky_count(&worker->counters,
                  own->ref_count == 0 ? SKY_COUNT_sampling_sampled : SKY_COUNT_sampling_joined);
        return true;
    case SKY_SAMPLING_UNDECIDED:
        break;
    case SKY_SAMPLING_LEAVE:
        sky_count(&worker->counters, SKY_COUNT_sampling_left);
        return false;
    }
    switch (sky_sampling_end(config, own->spans[0].error, own->duration_us)) {
    case SKY_SAMPLING_KEPT_ERROR:
        sky_count(&worker->counters, SKY_COUNT_sampling_kept_error);
        return true;
    case SKY_SAMPLING_KEPT_SLOW:
        sky_count(&worker->counters, SKY_COUNT_sampling_kept_slow);
        return true;
    case SKY_SAMPLING_LEFT:
        break;
    }
    sky_count(&worker->counters, SKY_COUNT_sampling_left);
    return false;
}

static struct sky_text or_ours(struct sky_text text, const char *ours)
{
    return text.len != 0 ? text : sky_text_of(ours);
}

void sky_trace_own(void *data, const struct sky_stitch_own *own)
{
    struct sky_worker *worker = data;
    struct sky_ref refs[SKY_STITCH_MAX_REFS];
    char segment_hex[SKY_ID_HEX];

    if (!is_kept(worker, own))
        return;
    sky_id_format(own->segment, segment_hex);
    for (size_t i = 0; i < own->ref_count; i++)
        refs[i] = sky_trace_ref(&own->refs[i]);
    own->spans[0].refs = refs;
    own->spans[0].ref_count = own->ref_count;
    struct sky_segment segment = {
        .trace_id = own->trace_id,
        .segment_id = sky_text(segment_hex, sizeof(segment_hex)),
        .service = or_ours(own->service, worker->config->agent.service),
        .instance = or_ours(own->instance, worker->config->agent.instance),
        .size_limited = own->size_limited,
        .spans = own->spans,
        .span_count = own->span_count,
    };
    sky_trace_push(worker, &segment);
}

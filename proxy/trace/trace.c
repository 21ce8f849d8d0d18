/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/trace/trace.h"

#include <string.h>
#include <time.h>

#include "propagation/sw8_correlation.h"
#include "proxy/front/http1_front.h"
#include "proxy/peer_text.h"
#include "proxy/route/route_rules.h"
#include "proxy/trace/http_params.h"
#include "proxy/trace/ignore.h"
#include "proxy/trace/operation.h"
#include "proxy/trace/sampling.h"
#include "proxy/trace/trace_state.h"

/* The span that sw8 names as the parent: the entry itself for an app that we stitch, the exit span
 * towards a service of its own. */
#define STITCH_SPAN 0
#define GATEWAY_SPAN 1

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t now_us(const struct sky_trace *trace)
{
    return clock_us(CLOCK_MONOTONIC) + trace->wall_minus_monotonic_us;
}

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

static struct sky_text copy(struct sky_trace *trace, struct sky_text text)
{
    if (text.len == 0)
        return (struct sky_text){0};
    char *base = h2o_mem_alloc_pool(&trace->pool, text.len);
    memcpy(base, text.base, text.len);
    return sky_text(base, text.len);
}

static bool peer_trusted(const struct sky_config *config, const h2o_req_t *req)
{
    struct sockaddr_storage peer = {0};
    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer);
    return sky_trust_peer(sky_front_trust_incoming(req, &config->agent.trust_incoming),
                          (struct sockaddr *)&peer);
}

/* The request's fields that begin with sw8, found in one pass. A repeated sw8 counts as malformed.
 */
struct sw8_fields {
    struct sky_text sw8, correlation, x;
    bool any, sw8_twice;
};

static struct sw8_fields find_fields(const h2o_req_t *req)
{
    struct sw8_fields found = {0};
    for (size_t i = 0; i < req->headers.size; ++i) {
        const h2o_header_t *field = &req->headers.entries[i];
        struct sky_text name = view(*field->name), value = view(field->value);
        if (!sky_text_starts(name, SKY_TEXT("sw8")))
            continue;
        found.any = true;
        if (name.len == 3) {
            found.sw8_twice = found.sw8.base != NULL;
            found.sw8 = value;
        } else if (sky_text_equal(name, SKY_TEXT("sw8-correlation"))) {
            found.correlation = value;
        } else if (sky_text_equal(name, SKY_TEXT("sw8-x"))) {
            found.x = value;
        }
    }
    return found;
}

static void join(struct sky_trace *trace, const h2o_req_t *req)
{
    struct sky_counters *counters = &trace->worker->counters;
    struct sw8_fields fields = find_fields(req);
    if (!fields.any)
        return;
    if (!peer_trusted(trace->tenure->config, req)) {
        sky_count(counters, SKY_COUNT_sw8_untrusted);
        return;
    }
    if (fields.correlation.len != 0) {
        char *kept = h2o_mem_alloc_pool(&trace->pool, fields.correlation.len);
        trace->correlation = sky_text(kept, sky_correlation_clean(fields.correlation, kept));
    }
    trace->skip_analysis = sky_sw8x_skips_analysis(fields.x);
    if (fields.sw8.len == 0)
        return;
    char *storage = h2o_mem_alloc_pool(&trace->pool, SKY_SW8_MAX_BYTES);
    trace->joined = !fields.sw8_twice && sky_sw8_parse(fields.sw8, storage, &trace->parent);
    sky_count(counters, trace->joined ? SKY_COUNT_sw8_joined : SKY_COUNT_sw8_malformed);
}

/* "ip:port", as the agents write the peer of an entry span. */
static struct sky_text format_peer(struct sky_trace *trace, const h2o_req_t *req)
{
    struct sockaddr_storage peer = {0};
    if (req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer) == 0)
        return (struct sky_text){0};
    char *text = h2o_mem_alloc_pool(&trace->pool, SKY_PEER_TEXT_BYTES);
    return sky_peer_ip_port(&peer, text);
}

/* Without the query: it may hold what nobody should store, and the agents leave it out. */
static struct sky_text format_url(struct sky_trace *trace, const h2o_req_t *req)
{
    size_t path_len = req->input.query_at != SIZE_MAX ? req->input.query_at : req->input.path.len;
    h2o_iovec_t scheme = req->input.scheme->name;
    size_t len = scheme.len + 3 + req->input.authority.len + path_len;
    char *text = h2o_mem_alloc_pool(&trace->pool, len), *at = text;
    memcpy(at, scheme.base, scheme.len);
    at += scheme.len;
    memcpy(at, "://", 3);
    at += 3;
    memcpy(at, req->input.authority.base, req->input.authority.len);
    at += req->input.authority.len;
    memcpy(at, req->input.path.base, path_len);
    return sky_text(text, len);
}

/* The form is read where it lies, as far as it is here whole. */
static struct sky_text form_of(const h2o_req_t *req)
{
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_CONTENT_TYPE, -1);
    if (req->entity.base == NULL || req->entity.len > SKY_HTTP_PARAMS_MAX_FORM_BYTES || at == -1 ||
        !sky_http_is_form(view(req->headers.entries[at].value)))
        return (struct sky_text){0};
    return view(req->entity);
}

static void show_params(struct sky_trace *trace, const h2o_req_t *req)
{
    const struct sky_config *config = trace->tenure->config;
    size_t max = config->agent.http_params_length;
    struct sky_text path = view(req->input.path), query = {0};
    if (config->agent.http_params) {
        if (req->input.query_at != SIZE_MAX)
            query =
                sky_text(path.base + req->input.query_at + 1, path.len - req->input.query_at - 1);
        trace->params =
            sky_http_params(&trace->pool, query, form_of(req), &config->agent.mask, max);
    }
    if (config->agent.http_headers.count != 0)
        trace->headers = sky_http_headers(&trace->pool, &req->headers, &config->agent.http_headers,
                                          &config->agent.mask, max);
}

static void describe(struct sky_trace *trace, const h2o_req_t *req)
{
    const struct sky_config *config = trace->tenure->config;
    char *operation = h2o_mem_alloc_pool(&trace->pool, SKY_OPERATION_MAX_BYTES);
    trace->operation =
        sky_text(operation, sky_operation_name(config->agent.operation, view(req->input.method),
                                               view(req->input.path), operation));
    trace->method = copy(trace, view(req->input.method));
    trace->url = format_url(trace, req);
    trace->peer = format_peer(trace, req);
    show_params(trace, req);
}

static bool ignored(struct sky_worker *worker, const h2o_req_t *req)
{
    if (sky_ignored(worker->config, view(req->input.method), view(req->input.path))) {
        sky_count(&worker->counters, SKY_COUNT_untraced_ignored);
        return true;
    }
    if (!worker->config->agent.ignore_probes)
        return false;
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_USER_AGENT, -1);
    if (at == -1 || !sky_ignore_probe(view(req->headers.entries[at].value)))
        return false;
    sky_count(&worker->counters, SKY_COUNT_untraced_probe);
    return true;
}

static void choose_trace_id(struct sky_trace *trace, struct sky_id ours)
{
    if (trace->joined) {
        trace->trace_id = trace->parent.trace_id;
        return;
    }
    sky_id_format(ours, trace->trace_hex);
    trace->trace_id = sky_text(trace->trace_hex, SKY_ID_HEX);
}

/* A route that says how many has a count of its own. */
static struct sky_sampling_window *window_of(const struct sky_worker *worker,
                                             struct sky_route_sampling *sampling)
{
    bool own = sampling != NULL && sampling->given[SKY_ROUTE_SAMPLING_PER_3_SECONDS];
    return own ? &sampling->window : worker->sampling;
}

/* Whether the request is traced: it is reported, or may be in the end. The agents write a constant
 * 1 as the sample of sw8, so a 0 comes from a skystitch that reports only what it keeps. */
static bool sample(struct sky_trace *trace, struct sky_sampling_window *window, struct sky_id ours,
                   int64_t monotonic_us)
{
    struct sky_worker *worker = trace->worker;
    enum sky_sampling_origin origin = !trace->joined          ? SKY_SAMPLING_OURS
                                      : trace->parent.sampled ? SKY_SAMPLING_JOINED
                                                              : SKY_SAMPLING_JOINED_UNSAMPLED;
    switch (sky_sampling_begin(trace->sampling, window, origin, ours, monotonic_us)) {
    case SKY_SAMPLING_REPORT:
        sky_count(&worker->counters,
                  trace->joined ? SKY_COUNT_sampling_joined : SKY_COUNT_sampling_sampled);
        return true;
    case SKY_SAMPLING_UNDECIDED:
        trace->undecided = true;
        return true;
    case SKY_SAMPLING_LEAVE:
        break;
    }
    sky_count(&worker->counters, SKY_COUNT_sampling_left);
    return false;
}

void sky_trace_free(struct sky_trace *trace)
{
    h2o_mem_pool_t pool = trace->pool;
    sky_tenure_release(trace->tenure);
    h2o_mem_clear_pool(&pool);
}

struct sky_trace *sky_trace_begin(struct sky_worker *worker, h2o_req_t *req,
                                  struct sky_route_sampling *sampling)
{
    if (ignored(worker, req))
        return NULL;
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    struct sky_trace *trace = h2o_mem_alloc_pool(&pool, sizeof(*trace));
    *trace = (struct sky_trace){
        .pool = pool, .worker = worker, .tenure = sky_tenure_hold(worker->tenure)};
    int64_t monotonic_us = clock_us(CLOCK_MONOTONIC);
    trace->wall_minus_monotonic_us = clock_us(CLOCK_REALTIME) - monotonic_us;
    trace->received_us = sky_front_received_us(req);
    join(trace, req);
    struct sky_id ours = sky_ids_next(&worker->ids);
    trace->sampling = sampling != NULL ? &sampling->config : &trace->tenure->config->agent.sampling;
    if (!sample(trace, window_of(worker, sampling), ours, monotonic_us)) {
        sky_trace_free(trace);
        return NULL;
    }
    choose_trace_id(trace, ours);
    describe(trace, req);
    trace->entry.segment = sky_ids_next(&worker->ids);
    sky_id_format(trace->entry.segment, trace->segment_hex);
    return trace;
}

static char *put(char *at, struct sky_text text)
{
    memcpy(at, text.base, text.len);
    return at + text.len;
}

static char *put_field(char *at, struct sky_text name_colon, struct sky_text value)
{
    return put(put(put(at, name_colon), value), SKY_TEXT("\r\n"));
}

static struct sky_text build_sw8(struct sky_trace *trace, char *dst)
{
    const struct sky_config *config = trace->tenure->config;
    struct sky_sw8 sw8 = {
        .sampled = !trace->undecided,
        .trace_id = trace->trace_id,
        .segment_id = sky_text(trace->segment_hex, SKY_ID_HEX),
        .span_id = config->agent.mode == SKY_MODE_GATEWAY ? GATEWAY_SPAN : STITCH_SPAN,
        .service = sky_text_of(config->agent.service),
        .instance = sky_text_of(config->agent.instance),
        .endpoint = trace->operation,
        .address = sky_text_of(trace->server->text),
    };
    return sky_text(dst, sky_sw8_build(&sw8, dst, SKY_SW8_MAX_BYTES));
}

/* Whether the server shares this machine's abstract sockets, as far as its address tells. */
static bool is_local(const struct sky_address *server)
{
    if (server->host == NULL || sky_address_is_localhost(server))
        return true;
    if (server->sockaddr_len == 0)
        return false;
    if (server->sockaddr.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&server->sockaddr)->sin6_addr);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&server->sockaddr;
    return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static struct sky_text write_lines(struct sky_trace *trace)
{
    char sw8_value[SKY_SW8_MAX_BYTES], stitch_value[SKY_STITCH_REQUEST_MAX_BYTES];
    struct sky_text sw8 = build_sw8(trace, sw8_value), stitch = {0};
    struct sky_stitch *worker_stitch = trace->worker->stitch;
    if (worker_stitch != NULL)
        stitch =
            sky_text(stitch_value, sky_stitch_request_value(worker_stitch, trace->entry.segment,
                                                            trace->received_us, !trace->undecided,
                                                            is_local(trace->server), stitch_value));
    char *lines =
        h2o_mem_alloc_pool(&trace->pool, sw8.len + stitch.len + trace->correlation.len + 80);
    char *at = lines;
    if (sw8.len != 0)
        at = put_field(at, SKY_TEXT("sw8: "), sw8);
    if (trace->correlation.len != 0)
        at = put_field(at, SKY_TEXT("sw8-correlation: "), trace->correlation);
    if (trace->skip_analysis)
        at = put(at, SKY_TEXT("sw8-x: 1\r\n"));
    if (stitch.len != 0)
        at = put_field(at, SKY_TEXT("sw8-stitch: "), stitch);
    return sky_text(lines, (size_t)(at - lines));
}

struct sky_text sky_trace_attempt(struct sky_trace *trace, const struct sky_address *server)
{
    struct sky_worker *worker = trace->worker;
    bool again = trace->server != NULL;
    trace->server = server;
    trace->entry.upstream = server;
    if (again) {
        struct sky_id id = sky_ids_next(&worker->ids);
        sky_id_format(id, trace->segment_hex);
        if (worker->stitch != NULL)
            sky_stitch_retrack(worker->stitch, &trace->entry, id);
    } else if (worker->stitch != NULL) {
        trace->entry.pool = &trace->pool;
        trace->entry.report = sky_trace_report;
        sky_stitch_track(worker->stitch, &trace->entry);
    }
    return write_lines(trace);
}

void sky_trace_queued(struct sky_trace *trace)
{
    trace->queued_us = now_us(trace);
}

void sky_trace_sent(struct sky_trace *trace)
{
    trace->sent_us = now_us(trace);
}

void sky_trace_answered(struct sky_trace *trace)
{
    trace->answered_us = now_us(trace);
}

void sky_trace_stitch(struct sky_trace *trace, struct sky_text value, size_t count)
{
    if (trace->worker->stitch != NULL)
        sky_stitch_answer(trace->worker->stitch, &trace->entry, value, count);
}

void sky_trace_stitch_data(struct sky_trace *trace, struct sky_text value, size_t count)
{
    if (trace->worker->stitch != NULL)
        sky_stitch_data(trace->worker->stitch, &trace->entry, value, count);
}

void sky_trace_names(const struct sky_trace *trace, struct sky_trace_names *names)
{
    const struct sky_app_part *part = &trace->entry.part;
    struct sky_text route = part->operation.len != 0 ? part->operation : part->head.operation;
    *names = (struct sky_trace_names){
        .trace_id = trace->trace_id,
        .segment_id = sky_text(trace->segment_hex, SKY_ID_HEX),
        .operation = route.len != 0 ? route : trace->operation,
    };
}

/* Whether an undecided trace is reported. */
static bool is_kept(const struct sky_trace *trace)
{
    struct sky_counters *counters = &trace->worker->counters;
    /* how long a tunnel is open says nothing of how fast it was made */
    int64_t answered_us = trace->outcome.tunnel ? trace->answered_us : trace->end_us;
    bool failed = sky_trace_failed(trace) || sky_trace_broke_unseen(trace);
    switch (sky_sampling_end(trace->sampling, failed, answered_us - trace->received_us)) {
    case SKY_SAMPLING_KEPT_ERROR:
        sky_count(counters, SKY_COUNT_sampling_kept_error);
        return true;
    case SKY_SAMPLING_KEPT_SLOW:
        sky_count(counters, SKY_COUNT_sampling_kept_slow);
        return true;
    case SKY_SAMPLING_LEFT:
        break;
    }
    sky_count(counters, SKY_COUNT_sampling_left);
    return false;
}

void sky_trace_end(struct sky_trace *trace, const struct sky_trace_outcome *outcome)
{
    struct sky_stitch *stitch = trace->server != NULL ? trace->worker->stitch : NULL;
    trace->outcome = *outcome;
    trace->end_us = now_us(trace);
    if (trace->undecided && stitch != NULL)
        sky_stitch_catch_up(stitch, &trace->entry);
    if (trace->undecided && !is_kept(trace)) {
        if (stitch != NULL)
            sky_stitch_untrack(stitch, &trace->entry);
        sky_trace_free(trace);
        return;
    }
    if (stitch != NULL)
        sky_stitch_finish(stitch, &trace->entry);
    else
        sky_trace_report(&trace->entry);
}

bool sky_trace_strips(const struct sky_config *config, const h2o_req_t *req,
                      const struct sky_trace *trace, struct sky_text name)
{
    if (!sky_text_starts(name, SKY_TEXT("sw8")))
        return false;
    if (sky_text_starts(name, SKY_TEXT("sw8-stitch")))
        return true;
    bool ours = name.len == 3 || sky_text_equal(name, SKY_TEXT("sw8-correlation")) ||
                sky_text_equal(name, SKY_TEXT("sw8-x"));
    return ours && (trace != NULL || !peer_trusted(config, req));
}

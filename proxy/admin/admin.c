/* SPDX-License-Identifier: Apache-2.0 */
/* The admin listener's handler. Main thread; nothing here is on a request's path, so answers are
 * built whole and copied once.
 *
 * Happy path: Host and sender are checked -> the row of path and method is found -> it answers.
 * Failures: 413 or 408 that the front saw; 421 foreign Host; 403 POST of a page elsewhere; 404;
 * 405; 500 when memory is out. */
#include "proxy/admin/admin.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "proxy/access/access_log.h"
#include "proxy/admin/admin_host.h"
#include "proxy/admin/admin_page.h"
#include "proxy/admin/metrics.h"
#include "proxy/admin/metrics_reporter.h"
#include "proxy/admin/metrics_upstream.h"
#include "proxy/front/http1_front.h"
#include "proxy/stitch/stitch.h"

#define BODY_BYTES_MAX (10 * 1024 * 1024)
#define TRACES_SHOWN 100
#define TRACES_MAX 1000

struct admin_handler {
    h2o_handler_t super;
    struct sky_server *server;
};

static const char text_plain[] = "text/plain; charset=utf-8";
static const char text_html[] = "text/html; charset=utf-8";
static const char json[] = "application/json";

static void respond(h2o_req_t *req, int status, const char *reason, const char *type,
                    const char *body)
{
    req->res.status = status;
    req->res.reason = reason;
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type, strlen(type));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-content-type-options"), 0,
                          NULL, H2O_STRLIT("nosniff"));
    h2o_send_inline(req, body, strlen(body));
}

/* Sends a heap text and frees it; NULL is what is left when memory is out. */
static void respond_heap(h2o_req_t *req, const char *type, char *body)
{
    if (body == NULL)
        respond(req, 500, "Internal Server Error", text_plain, "memory is out\n");
    else
        respond(req, 200, "OK", type, body);
    free(body);
}

static struct sky_text text_of(h2o_iovec_t vec)
{
    return sky_text(vec.base, vec.len);
}

static bool keeps_traces(const struct sky_server *server)
{
    return server->config->local.enabled == SKY_SWITCH_ON;
}

/* Whatever a name in a trace holds, the page loads and talks to nothing but this listener. */
static void respond_page(h2o_req_t *req, char *page)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("content-security-policy"), 0,
                          NULL,
                          H2O_STRLIT("default-src 'none'; connect-src 'self'; script-src 'self'; "
                                     "style-src 'self'; base-uri 'none'; form-action 'none'; "
                                     "frame-ancestors 'none'"));
    respond_heap(req, text_html, page);
}

static void answer_page(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    char *traces = NULL;
    (void)rest;
    if (keeps_traces(server)) {
        traces = sky_reporter_traces_json(server->reporter, TRACES_SHOWN);
        if (traces == NULL) {
            respond_heap(req, text_html, NULL);
            return;
        }
    }
    respond_page(req, sky_admin_page(traces, server->config->agent.service));
    free(traces);
}

static void answer_trace_page(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)server;
    (void)rest;
    respond_page(req, sky_admin_trace_page());
}

static void answer_style(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)server;
    (void)rest;
    respond_heap(req, "text/css; charset=utf-8", sky_admin_style());
}

static void answer_script(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)server;
    (void)rest;
    respond_heap(req, "text/javascript; charset=utf-8", sky_admin_script());
}

/* ?limit=N; TRACES_SHOWN without it. */
static size_t limit_of(const h2o_req_t *req)
{
    static const char key[] = "limit=";
    if (req->query_at == SIZE_MAX)
        return TRACES_SHOWN;
    struct sky_text query = text_of(req->path);
    size_t limit = 0, at = req->query_at + 1;
    if (!sky_text_starts(sky_text(query.base + at, query.len - at), sky_text_of(key)))
        return TRACES_SHOWN;
    for (at += sizeof(key) - 1; at < query.len && query.base[at] >= '0' && query.base[at] <= '9';
         at++) {
        if (limit < TRACES_MAX)
            limit = limit * 10 + (size_t)(query.base[at] - '0');
    }
    return limit < TRACES_MAX ? limit : TRACES_MAX;
}

static void answer_traces(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)rest;
    if (!keeps_traces(server))
        respond(req, 404, "Not Found", text_plain,
                "no traces are kept here, since they go to a backend: local.enabled is off\n");
    else
        respond_heap(req, json, sky_reporter_traces_json(server->reporter, limit_of(req)));
}

static void answer_trace(struct sky_server *server, h2o_req_t *req, struct sky_text id)
{
    char *trace = sky_reporter_trace_json(server->reporter, id);
    if (trace == NULL)
        respond(req, 404, "Not Found", text_plain, "no such trace is kept here\n");
    else
        respond_heap(req, json, trace);
}

static void collect(const struct sky_server *server, struct sky_metrics *metrics)
{
    for (size_t i = 0; i < server->worker_count; i++) {
        const struct sky_worker *worker = server->workers[i];
        sky_metrics_add_worker(metrics, &worker->counters);
        metrics->gauges[SKY_GAUGE_connections] += (double)sky_front_connection_count(worker->front);
        metrics->gauges[SKY_GAUGE_tunnels] +=
            (double)atomic_load_explicit(&worker->tunnels.open, memory_order_relaxed);
        if (worker->stitch != NULL)
            metrics->gauges[SKY_GAUGE_stitch_bytes] += (double)sky_stitch_bytes(worker->stitch);
    }
    sky_metrics_add_worker(metrics, &server->check_counters);
    sky_reporter_counters(server->reporter, &metrics->reporter);
    sky_metrics_add_process(metrics);
    const struct sky_reporter_counters *reporter = &metrics->reporter;
    double *gauges = metrics->gauges;
    gauges[SKY_GAUGE_workers] = (double)server->worker_count;
    gauges[SKY_GAUGE_app_processes] =
        server->processes != NULL ? (double)sky_processes_count(server->processes) : 0;
    gauges[SKY_GAUGE_body_bytes] = (double)sky_body_budget_taken(&server->body_budget);
    gauges[SKY_GAUGE_stopping] = server->stopping;
    gauges[SKY_GAUGE_access_lost] =
        (double)(server->access_lost + sky_access_log_lost(server->access_log));
    gauges[SKY_GAUGE_reloads_done] = (double)server->reload.done;
    gauges[SKY_GAUGE_reloads_failed] = (double)server->reload.failed;
    gauges[SKY_GAUGE_configured_at] = server->reload.done_at;
    gauges[SKY_GAUGE_backend_up] =
        server->config->reporter.protocol == SKY_CONFIG_PROTOCOL_LOCAL ? NAN : reporter->connected;
    gauges[SKY_GAUGE_backlog_segments] = (double)reporter->backlog_segments;
    gauges[SKY_GAUGE_backlog_bytes] = (double)reporter->backlog_bytes;
    gauges[SKY_GAUGE_backlog_limit_bytes] = (double)server->config->reporter.memory;
    bool spool = server->config->reporter.spool.path[0] != '\0';
    gauges[SKY_GAUGE_spool_segments] = spool ? (double)reporter->spool_segments : NAN;
    gauges[SKY_GAUGE_spool_bytes] = spool ? (double)reporter->spool_bytes : NAN;
    gauges[SKY_GAUGE_spool_limit_bytes] = spool ? (double)server->config->reporter.spool.max : NAN;
    gauges[SKY_GAUGE_spool_ready] = spool ? reporter->spool_ready : NAN;
    gauges[SKY_GAUGE_local_segments] = (double)reporter->local_segments;
    gauges[SKY_GAUGE_local_bytes] = (double)reporter->local_bytes;
}

static void answer_metrics(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    struct sky_metrics metrics = {.gauges = {0}};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    (void)rest;
    if (out != NULL) {
        collect(server, &metrics);
        sky_metrics_write(&metrics, out);
        sky_metrics_write_upstreams(&server->generation->fleet, out);
        if (server->config->reporter.protocol != SKY_CONFIG_PROTOCOL_LOCAL)
            sky_metrics_write_reporter(&metrics.reporter, out);
        fclose(out);
    }
    respond_heap(req, "text/plain; version=0.0.4; charset=utf-8", text);
}

static void answer_live(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)server;
    (void)rest;
    respond(req, 200, "OK", text_plain, "live\n");
}

/* In the request's pool: a client that leaves takes its question with it. */
struct ready_query {
    struct sky_readiness_query super;
    h2o_req_t *req;
};

static void on_ready(struct sky_readiness_query *query, bool reachable)
{
    h2o_req_t *req = ((struct ready_query *)query)->req;
    if (reachable)
        respond(req, 200, "OK", text_plain, "ready\n");
    else
        respond(req, 503, "Service Unavailable", text_plain,
                "no server of any upstream can be reached\n");
}

static void forget_ready(void *query)
{
    sky_readiness_forget(query);
}

/* Not a word about the backend: while it is down the app is served all the same. */
static void answer_ready(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)rest;
    if (server->stopping || server->draining) {
        respond(req, 503, "Service Unavailable", text_plain,
                server->stopping ? "stopping\n" : "draining\n");
        return;
    }
    struct ready_query *asked = h2o_mem_alloc_shared(&req->pool, sizeof(*asked), forget_ready);
    *asked = (struct ready_query){.super = {.done = on_ready}, .req = req};
    sky_readiness_ask(server->readiness, &asked->super);
}

static void answer_config(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)rest;
    respond_heap(req, json, sky_config_json(server->config));
}

static void accept_segments(struct sky_server *server, h2o_req_t *req, struct sky_text body)
{
    char error[200] = "";
    if (sky_reporter_accept_json(server->reporter, body, error, sizeof(error)) >= 0) {
        respond(req, 200, "OK", json, "{}");
        return;
    }
    char line[sizeof(error) + 1];
    snprintf(line, sizeof(line), "%.*s\n", (int)sizeof(error) - 1, error);
    respond(req, 400, "Bad Request", text_plain, line);
}

static void answer_segments(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)rest;
    accept_segments(server, req, text_of(req->entity));
}

/* One segment is an array of one. */
static void answer_segment(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    h2o_iovec_t parts[] = {h2o_iovec_init(H2O_STRLIT("[")), req->entity,
                           h2o_iovec_init(H2O_STRLIT("]"))};
    (void)rest;
    accept_segments(server, req, text_of(h2o_concat_list(&req->pool, parts, 3)));
}

/* An agent in HTTP mode tells who it is; without OAP nobody asks. */
static void answer_management(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)server;
    (void)rest;
    respond(req, 200, "OK", json, "{}");
}

static void answer_drain(struct sky_server *server, h2o_req_t *req, struct sky_text rest)
{
    (void)rest;
    sky_drain_begin(server);
    respond(req, 200, "OK", text_plain, "draining\n");
}

static const struct route {
    const char *method; /* GET is HEAD too */
    const char *path;
    bool below; /* anything after the path, handed on as rest */
    bool any_host;
    void (*answer)(struct sky_server *server, h2o_req_t *req, struct sky_text rest);
} routes[] = {
    {"GET", "/", false, false, answer_page},
    {"GET", "/api/config", false, false, answer_config},
    {"GET", "/api/traces", false, false, answer_traces},
    {"GET", "/api/traces/", true, false, answer_trace},
    {"GET", "/livez", false, true, answer_live},
    {"GET", "/metrics", false, false, answer_metrics},
    {"GET", "/readyz", false, true, answer_ready},
    {"GET", "/script.js", false, false, answer_script},
    {"GET", "/style.css", false, false, answer_style},
    {"GET", "/traces/", true, false, answer_trace_page},
    {"POST", "/drain", false, false, answer_drain},
    {"POST", "/v3/management/keepAlive", false, true, answer_management},
    {"POST", "/v3/management/reportProperties", false, true, answer_management},
    {"POST", "/v3/segment", false, true, answer_segment},
    {"POST", "/v3/segments", false, true, answer_segments},
};

static const struct route *find_route(struct sky_text path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct sky_text known = sky_text_of(routes[i].path);
        if (sky_text_equal(path, known) || (routes[i].below && sky_text_starts(path, known)))
            return &routes[i];
    }
    return NULL;
}

static bool is_method(const h2o_req_t *req, const char *method)
{
    struct sky_text name = text_of(req->method);
    return sky_text_equal(name, sky_text_of(method)) ||
           (strcmp(method, "GET") == 0 && sky_text_equal(name, SKY_TEXT("HEAD")));
}

/* What the front, or the limit here, has against the body. */
static void refuse(h2o_req_t *req, int status)
{
    static const struct {
        int status;
        const char *reason, *text;
    } refusals[] = {
        {408, "Request Timeout", "the body stood still\n"},
        {413, "Content Too Large", "the body is too large\n"},
        {503, "Service Unavailable", "the body could not be buffered\n"},
        {507, "Insufficient Storage", "the body could not be buffered\n"},
        {400, "Bad Request", "the body is malformed\n"},
    };
    size_t i = 0;
    while (refusals[i].status != status && refusals[i].status != 400)
        i++;
    respond(req, refusals[i].status, refusals[i].reason, text_plain, refusals[i].text);
}

/* A browser sends a field of that name to another site only after asking it (CORS preflight). */
static bool is_forged(const h2o_req_t *req, struct sky_text path)
{
    return !is_method(req, "GET") && !sky_text_starts(path, SKY_TEXT("/v3/")) &&
           h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-skystitch"), -1) == -1;
}

static int on_req(h2o_handler_t *self, h2o_req_t *req)
{
    struct sky_server *server = ((struct admin_handler *)self)->server;
    struct sky_text path = text_of(req->path_normalized);
    const struct route *route = find_route(path);
    enum sky_refusal refused = sky_front_refusal(req);
    int refusal = refused != SKY_REFUSAL_none ? sky_refusal_row(refused)->status : 0;

    if (refusal == 0 && req->entity.len > BODY_BYTES_MAX)
        refusal = 413;
    if (refusal != 0) {
        refuse(req, refusal);
    } else if ((route == NULL || !route->any_host) &&
               !sky_admin_host_allowed(text_of(req->input.authority),
                                       &server->config->admin.listen)) {
        respond(req, 421, "Misdirected Request", text_plain,
                "this Host is not served: use an IP address or localhost\n");
    } else if (is_forged(req, path)) {
        respond(req, 403, "Forbidden", text_plain, "this needs a header X-Skystitch\n");
    } else if (route == NULL) {
        respond(req, 404, "Not Found", text_plain, "there is no such page\n");
    } else if (!is_method(req, route->method)) {
        const char *allowed = route->method[0] == 'G' ? "GET, HEAD" : "POST";
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("allow"), 0, NULL, allowed,
                              strlen(allowed));
        respond(req, 405, "Method Not Allowed", text_plain, "this page has another method\n");
    } else {
        size_t known = strlen(route->path);
        route->answer(server, req, sky_text(path.base + known, path.len - known));
    }
    return 0;
}

void sky_admin_register(h2o_pathconf_t *path, struct sky_server *server)
{
    struct admin_handler *self = (void *)h2o_create_handler(path, sizeof(*self));
    self->super.on_req = on_req;
    self->server = server;
}

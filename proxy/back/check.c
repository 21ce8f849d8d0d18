/* SPDX-License-Identifier: Apache-2.0 */
/* One check after the other of each server.
 *
 * Happy path: the interval has passed -> dial -> GET -> the status is within health_check.status:
 * passed. The body is not read, the connection is closed.
 * Failures: no connection, no sound head, another status, or health_check.timeout has passed:
 * failed, and the log has the reason when the server is thought of otherwise then.
 *
 * The requests are not traced, and no worker counts them. */
#include "proxy/back/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/back/dial.h"
#include "proxy/back/http1_back.h"
#include "proxy/back/proxy_out.h"
#include "proxy/back/upstream.h"
#include "proxy/back/uwsgi.h"
#include "reporter/log.h"

/* A server is asked for the first time within so long. */
#define FIRST_WITHIN_MS 1000

#define HEAD_BYTES 1024

/* One server. Its timeouts are lists of one entry, so that each wait has a length of its own. */
struct check {
    struct check *before; /* of the list of all */
    struct sky_checks *all;
    struct sky_upstream_server *server; /* held */
    struct sky_check_state state;
    h2o_timeout_t wait, limit;
    h2o_timeout_entry_t next, deadline;
    struct sky_dial dial;
    struct sky_back back;
    h2o_mem_pool_t pool; /* of the request under way */
    char preface[SKY_PROXY_OUT_BYTES];
    int status; /* of its answer; 0: none yet */
};

struct sky_checks {
    h2o_context_t *ctx;
    struct sky_counters *counters;
    struct sky_counters unshown; /* of dialling */
    unsigned seed;
    struct sky_upstream **upstreams;
    size_t upstream_count;
    struct check *last; /* heap, as each before it */
};

bool sky_check_note(struct sky_check_state *state, bool passed, uint32_t rise, uint32_t fall)
{
    if (passed != state->down) {
        state->row = 0;
        state->known = true;
        return false;
    }
    if (state->known && ++state->row < (passed ? rise : fall))
        return false;
    state->known = true;
    state->row = 0;
    state->down = !passed;
    return true;
}

/* --- one check --- */

/* A tenth more or less, so that checks of many proxies do not come together. */
static void wait_for_next(struct check *check, uint32_t ms)
{
    uint32_t spread = ms / 5;

    check->wait.timeout = ms - spread / 2;
    if (spread != 0)
        check->wait.timeout += (uint64_t)rand_r(&check->all->seed) % spread;
    h2o_timeout_link(check->all->ctx->loop, &check->wait, &check->next);
}

static void tell(struct check *check, const char *reason)
{
    struct sky_upstream_server *server = check->server;
    const char *upstream = server->upstream->config->name;

    server->member->unwell = check->state.down;
    if (check->state.down)
        sky_log(SKY_LOG_WARN, "upstream %s: %s fails its health check: %s", upstream,
                server->member->label, reason);
    else
        sky_log(SKY_LOG_INFO, "upstream %s: %s passes its health check", upstream,
                server->member->label);
}

/* reason: static; NULL when passed. */
static void finish(struct check *check, const char *reason)
{
    const struct sky_upstream_config *config = check->server->upstream->config;
    bool passed = reason == NULL;

    h2o_timeout_unlink(&check->deadline);
    sky_dial_cancel(&check->dial);
    sky_back_fini(&check->back);
    check->back = (struct sky_back){0};
    h2o_mem_clear_pool(&check->pool);
    sky_count(check->all->counters,
              passed ? SKY_COUNT_health_checks_passed : SKY_COUNT_health_checks_failed);
    if (sky_check_note(&check->state, passed, config->health_check.rise, config->health_check.fall))
        tell(check, reason);
    wait_for_next(check, config->health_check.interval_ms);
}

static void on_sent(struct sky_back *back)
{
    (void)back;
}

static void on_informed(struct sky_back *back, const struct sky_answer *answer)
{
    (void)back;
    (void)answer;
}

static void on_answered(struct sky_back *back, const struct sky_answer *answer)
{
    H2O_STRUCT_FROM_MEMBER(struct check, back, back)->status = answer->status;
}

static void on_progress(struct sky_back *back)
{
    struct check *check = H2O_STRUCT_FROM_MEMBER(struct check, back, back);
    const struct sky_statuses *sound = &check->server->upstream->config->health_check.status;

    if (check->status == 0)
        finish(check, sky_failure_info(back->failure)->text);
    else if ((uint32_t)check->status < sound->min || (uint32_t)check->status > sound->max)
        finish(check, "the answer has another status");
    else
        finish(check, NULL);
}

static struct sky_text write_head(const struct check *check, char head[HEAD_BYTES])
{
    const struct sky_upstream_config *config = check->server->upstream->config;
    const struct sky_address *address = check->server->address;
    const char *host = config->health_check.host;

    if (host[0] == '\0')
        host = address->host != NULL ? address->text : "localhost";
    int len = snprintf(head, HEAD_BYTES,
                       "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: skystitch-health/" SKY_VERSION
                       "\r\nAccept: */*\r\n%s\r\n",
                       config->health_check.path, host,
                       config->protocol == SKY_UPSTREAM_HTTP ? "Connection: close\r\n" : "");
    return sky_text(head, (size_t)len);
}

static void on_dialled(struct sky_dial *dial, struct sky_upstream_conn *conn,
                       enum sky_failure failure)
{
    static const struct sky_back_events events = {
        .sent = on_sent, .informed = on_informed, .answered = on_answered, .progress = on_progress};
    struct check *check = H2O_STRUCT_FROM_MEMBER(struct check, dial, dial);
    char bytes[HEAD_BYTES], packet[4 * HEAD_BYTES];

    if (conn == NULL) {
        finish(check, sky_failure_info(failure)->text);
        return;
    }
    struct sky_text head = write_head(check, bytes);
    if (conn->server->upstream->config->protocol == SKY_UPSTREAM_UWSGI) {
        struct sky_uwsgi uwsgi = {.server_port = SKY_TEXT("80")};
        head = sky_text(packet, sky_uwsgi_write(&uwsgi, head, packet));
    }
    conn->once = true;
    sky_back_start(&check->back, &events, conn, &check->pool, head, h2o_iovec_init(NULL, 0), false);
}

static void on_deadline(h2o_timeout_entry_t *entry)
{
    finish(H2O_STRUCT_FROM_MEMBER(struct check, deadline, entry), "timeout");
}

static void on_next(h2o_timeout_entry_t *entry)
{
    struct check *check = H2O_STRUCT_FROM_MEMBER(struct check, next, entry);

    check->status = 0;
    h2o_mem_init_pool(&check->pool);
    h2o_timeout_link(check->all->ctx->loop, &check->limit, &check->deadline);
    size_t len = sky_proxy_out_write(check->server->upstream->config->proxy_protocol, NULL, NULL,
                                     check->preface);
    check->dial.preface = sky_text(check->preface, len);
    sky_dial_start(&check->dial, check->server, on_dialled);
}

/* --- all of them --- */

static void begin(struct sky_checks *checks, struct sky_upstream_server *server)
{
    const struct sky_upstream_config *config = server->upstream->config;
    struct check *check = h2o_mem_alloc(sizeof(*check));

    *check = (struct check){.before = checks->last,
                            .all = checks,
                            .server = sky_server_hold(server),
                            .next = {.cb = on_next},
                            .deadline = {.cb = on_deadline}};
    checks->last = check;
    uint32_t within = config->health_check.interval_ms;
    if (within > FIRST_WITHIN_MS)
        within = FIRST_WITHIN_MS;
    h2o_timeout_init(checks->ctx->loop, &check->wait, (uint64_t)rand_r(&checks->seed) % within);
    h2o_timeout_init(checks->ctx->loop, &check->limit, config->health_check.timeout_ms);
    h2o_timeout_link(checks->ctx->loop, &check->wait, &check->next);
}

static void end(struct check *check)
{
    h2o_loop_t *loop = check->all->ctx->loop;

    if (h2o_timeout_is_linked(&check->deadline)) {
        h2o_timeout_unlink(&check->deadline);
        sky_dial_cancel(&check->dial);
        sky_back_fini(&check->back);
        h2o_mem_clear_pool(&check->pool);
    }
    h2o_timeout_unlink(&check->next);
    h2o_timeout_dispose(loop, &check->wait);
    h2o_timeout_dispose(loop, &check->limit);
    sky_server_release(check->server);
    free(check);
}

static bool is_checked(const struct sky_checks *checks, const struct sky_upstream_server *server)
{
    for (const struct check *check = checks->last; check != NULL; check = check->before)
        if (check->server == server)
            return true;
    return false;
}

static void end_those_gone(struct sky_checks *checks)
{
    for (struct check **at = &checks->last, *check; (check = *at) != NULL;) {
        if (!check->server->has_gone) {
            at = &check->before;
            continue;
        }
        *at = check->before;
        end(check);
    }
}

void sky_checks_follow(struct sky_checks *checks)
{
    for (size_t i = 0; i < checks->upstream_count; ++i) {
        struct sky_upstream *upstream = checks->upstreams[i];
        if (upstream->version == upstream->roster->version)
            continue;
        sky_upstream_refresh(upstream);
        for (size_t k = 0; k < upstream->server_count; ++k)
            if (!is_checked(checks, upstream->servers[k]))
                begin(checks, upstream->servers[k]);
        end_those_gone(checks);
    }
}

struct sky_checks *sky_checks_new(h2o_context_t *ctx, struct sky_fleet *fleet, size_t share,
                                  const struct sky_config *config, struct sky_counters *counters)
{
    struct sky_checks *checks = h2o_mem_alloc(sizeof(*checks));

    memset(checks, 0, sizeof(*checks));
    checks->ctx = ctx;
    checks->counters = counters;
    checks->seed = (unsigned)h2o_now(ctx->loop);
    checks->upstreams = h2o_mem_alloc((fleet->count + 1) * sizeof(checks->upstreams[0]));
    for (size_t i = 0; i < fleet->count; ++i) {
        if (fleet->rosters[i]->config->health_check.path[0] == '\0')
            continue;
        struct sky_upstream *upstream =
            sky_upstream_new(ctx, fleet->rosters[i], share, config, &checks->unshown);
        checks->upstreams[checks->upstream_count++] = upstream;
        for (size_t k = 0; k < upstream->server_count; ++k)
            begin(checks, upstream->servers[k]);
    }
    return checks;
}

void sky_checks_destroy(struct sky_checks *checks)
{
    if (checks == NULL)
        return;
    while (checks->last != NULL) {
        struct check *check = checks->last;
        checks->last = check->before;
        end(check);
    }
    for (size_t i = 0; i < checks->upstream_count; ++i)
        sky_upstream_destroy(checks->upstreams[i]);
    free(checks->upstreams);
    free(checks);
}

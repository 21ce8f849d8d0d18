/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/readiness.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/back/dial.h"
#include "proxy/back/upstream.h"

#define KNOWN_FOR_MS 1000
#define PATIENCE_MS 1000

struct attempt {
    struct sky_dial dial;
    struct sky_readiness *readiness;
    struct sky_upstream_server *server; /* held */
    bool is_running;
};

struct sky_readiness {
    h2o_context_t *ctx;
    struct sky_fleet *fleet;
    struct sky_upstream **upstreams; /* those without active checks */
    size_t upstream_count;
    struct attempt *attempts; /* one for each of their servers; made when it is asked */
    size_t attempt_count, running;
    h2o_linklist_t waiting;
    h2o_timeout_t patience;
    h2o_timeout_entry_t deadline;
    bool is_known, reachable;
    uint64_t known_ms; /* loop time */
};

static void conclude(struct sky_readiness *readiness, bool reachable)
{
    h2o_timeout_unlink(&readiness->deadline);
    for (size_t i = 0; i < readiness->attempt_count; ++i) {
        if (readiness->attempts[i].is_running)
            sky_dial_cancel(&readiness->attempts[i].dial);
        readiness->attempts[i].is_running = false;
    }
    readiness->running = 0;
    readiness->is_known = true;
    readiness->reachable = reachable;
    readiness->known_ms = h2o_now(readiness->ctx->loop);
    while (!h2o_linklist_is_empty(&readiness->waiting)) {
        struct sky_readiness_query *query =
            H2O_STRUCT_FROM_MEMBER(struct sky_readiness_query, waiting, readiness->waiting.next);
        h2o_linklist_unlink(&query->waiting);
        query->done(query, reachable);
    }
}

static void on_deadline(h2o_timeout_entry_t *entry)
{
    conclude(H2O_STRUCT_FROM_MEMBER(struct sky_readiness, deadline, entry), false);
}

static void on_dialled(struct sky_dial *dial, struct sky_upstream_conn *conn,
                       enum sky_failure failure)
{
    struct attempt *attempt = H2O_STRUCT_FROM_MEMBER(struct attempt, dial, dial);
    struct sky_readiness *readiness = attempt->readiness;

    attempt->is_running = false;
    readiness->running--;
    if (conn != NULL)
        sky_upstream_close(conn);
    /* a full backlog is a server that has much to do */
    if (conn != NULL || failure == SKY_FAILURE_BACKLOG_FULL)
        conclude(readiness, true);
    else if (readiness->running == 0)
        conclude(readiness, false);
}

/* Of upstreams with active checks. */
static bool is_well(const struct sky_readiness *readiness)
{
    for (size_t i = 0; i < readiness->fleet->count; ++i) {
        struct sky_roster *roster = readiness->fleet->rosters[i];
        size_t count;
        uint64_t version;
        bool well = false;
        if (roster->config->health_check.path[0] == '\0')
            continue;
        struct sky_member **members = sky_roster_copy(roster, &count, &version);
        for (size_t k = 0; k < count; ++k) {
            well |= !members[k]->unwell;
            sky_member_release(members[k]);
        }
        free(members);
        if (well)
            return true;
    }
    return false;
}

static void let_go(struct sky_readiness *readiness)
{
    for (size_t i = 0; i < readiness->attempt_count; ++i)
        sky_server_release(readiness->attempts[i].server);
    free(readiness->attempts);
    readiness->attempts = NULL;
    readiness->attempt_count = 0;
}

/* Names may have other addresses by now. None is running. */
static void take_servers(struct sky_readiness *readiness)
{
    size_t servers = 0;

    let_go(readiness);
    for (size_t i = 0; i < readiness->upstream_count; ++i) {
        sky_upstream_follow(readiness->upstreams[i]);
        servers += readiness->upstreams[i]->server_count;
    }
    readiness->attempts = h2o_mem_alloc((servers + 1) * sizeof(*readiness->attempts));
    for (size_t i = 0; i < readiness->upstream_count; ++i) {
        struct sky_upstream *upstream = readiness->upstreams[i];
        for (size_t k = 0; k < upstream->server_count; ++k)
            readiness->attempts[readiness->attempt_count++] = (struct attempt){
                .readiness = readiness, .server = sky_server_hold(upstream->servers[k])};
    }
}

/* A dial may end before this returns, by a connection to a unix socket. */
static void dial_all(struct sky_readiness *readiness)
{
    h2o_timeout_link(readiness->ctx->loop, &readiness->patience, &readiness->deadline);
    readiness->running = readiness->attempt_count;
    for (size_t i = 0; i < readiness->attempt_count; ++i)
        readiness->attempts[i].is_running = true;
    for (size_t i = 0; i < readiness->attempt_count; ++i) {
        struct attempt *attempt = &readiness->attempts[i];
        if (!attempt->is_running)
            break; /* another one was enough */
        attempt->dial = (struct sky_dial){.done = NULL};
        sky_dial_start(&attempt->dial, attempt->server, on_dialled);
    }
}

void sky_readiness_ask(struct sky_readiness *readiness, struct sky_readiness_query *query)
{
    uint64_t age_ms = h2o_now(readiness->ctx->loop) - readiness->known_ms;

    if (readiness->running == 0)
        take_servers(readiness);
    if (is_well(readiness)) {
        query->done(query, true);
    } else if (readiness->attempt_count == 0) {
        query->done(query, readiness->fleet->count == 0);
    } else if (readiness->is_known && age_ms < KNOWN_FOR_MS && readiness->running == 0) {
        query->done(query, readiness->reachable);
    } else {
        h2o_linklist_insert(&readiness->waiting, &query->waiting);
        if (readiness->running == 0)
            dial_all(readiness);
    }
}

void sky_readiness_forget(struct sky_readiness_query *query)
{
    if (h2o_linklist_is_linked(&query->waiting))
        h2o_linklist_unlink(&query->waiting);
}

struct sky_readiness *sky_readiness_new(h2o_context_t *ctx, struct sky_fleet *fleet, size_t share,
                                        const struct sky_config *config,
                                        struct sky_counters *counters)
{
    struct sky_readiness *readiness = h2o_mem_alloc(sizeof(*readiness));

    *readiness = (struct sky_readiness){.ctx = ctx, .fleet = fleet};
    h2o_linklist_init_anchor(&readiness->waiting);
    h2o_timeout_init(ctx->loop, &readiness->patience, PATIENCE_MS);
    readiness->deadline.cb = on_deadline;
    readiness->upstreams = h2o_mem_alloc((fleet->count + 1) * sizeof(*readiness->upstreams));
    for (size_t i = 0; i < fleet->count; ++i) {
        if (fleet->rosters[i]->config->health_check.path[0] != '\0')
            continue;
        struct sky_upstream *upstream =
            sky_upstream_new(ctx, fleet->rosters[i], share, config, counters);
        readiness->upstreams[readiness->upstream_count++] = upstream;
    }
    return readiness;
}

void sky_readiness_destroy(struct sky_readiness *readiness)
{
    if (readiness == NULL)
        return;
    conclude(readiness, !readiness->is_known || readiness->reachable);
    let_go(readiness);
    for (size_t i = 0; i < readiness->upstream_count; ++i)
        sky_upstream_destroy(readiness->upstreams[i]);
    h2o_timeout_dispose(readiness->ctx->loop, &readiness->patience);
    free(readiness->upstreams);
    free(readiness);
}

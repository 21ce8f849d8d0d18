/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/upstream.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy/back/back_tls.h"
#include "proxy/back/dial.h"
#include "proxy/back/turn.h"

/* How soon a full backlog is tried again; one try a time, whatever the number of those who wait. */
#define BACKLOG_RETRY_MS 5

/* How long an answer's head waits for its body's first bytes: apps write them apart, within
 * microseconds, and the client gets them in one piece then. */
#define HEAD_HOLD_MS 1

static struct sky_upstream_server *server_new(struct sky_upstream *upstream,
                                              struct sky_member *member)
{
    struct sky_upstream_server *server = h2o_mem_alloc(sizeof(*server));

    memset(server, 0, sizeof(*server));
    server->upstream = upstream;
    server->member = member;
    server->share = &member->shares[upstream->worker];
    server->config = member->config;
    server->address = &member->address;
    h2o_linklist_init_anchor(&server->idle);
    sky_dial_init_server(server);
    return server;
}

static void close_idle(struct sky_upstream_server *server)
{
    while (!h2o_linklist_is_empty(&server->idle))
        sky_upstream_close(
            H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, idle, server->idle.next));
}

static void server_destroy(struct sky_upstream_server *server)
{
    close_idle(server);
    sky_dial_fini_server(server);
    SSL_SESSION_free(server->session);
    sky_member_release(server->member);
    free(server);
}

/* The server of that member, out of the list of those before; NULL: there is none. */
static struct sky_upstream_server *take_former(struct sky_upstream_server **former, size_t count,
                                               const struct sky_member *member)
{
    for (size_t i = 0; i < count; ++i) {
        struct sky_upstream_server *server = former[i];
        if (server == NULL || server->member != member)
            continue;
        former[i] = NULL;
        return server;
    }
    return NULL;
}

/* Requests that it has may end with it. */
static void leave(struct sky_upstream *upstream, struct sky_upstream_server *server)
{
    server->has_gone = true;
    close_idle(server);
    upstream->gone =
        h2o_mem_realloc(upstream->gone, (upstream->gone_count + 1) * sizeof(*upstream->gone));
    upstream->gone[upstream->gone_count++] = server;
}

static void free_gone(struct sky_upstream *upstream)
{
    size_t count = upstream->gone_count;

    upstream->gone_count = 0;
    for (size_t i = 0; i < count; ++i) {
        if (upstream->gone[i]->users != 0)
            upstream->gone[upstream->gone_count++] = upstream->gone[i];
        else
            server_destroy(upstream->gone[i]);
    }
}

/* A bit that no other server has, as long as there are any; nor one that is gone, if that can be:
 * requests that have tried it may try the new one. */
static uint64_t choose_bit(uint64_t used, uint64_t gone, size_t index)
{
    uint64_t free_bits = ~(used | gone) != 0 ? ~(used | gone) : ~used;

    return free_bits != 0 ? free_bits & -free_bits : UINT64_C(1) << index % 64;
}

/* In the places that are empty. */
static void begin_servers(struct sky_upstream *upstream, struct sky_member *const *members)
{
    uint64_t used = 0, gone = 0;

    for (size_t i = 0; i < upstream->server_count; ++i)
        used |= upstream->servers[i] != NULL ? upstream->servers[i]->bit : 0;
    for (size_t i = 0; i < upstream->gone_count; ++i)
        gone |= upstream->gone[i]->bit;
    for (size_t i = 0; i < upstream->server_count; ++i) {
        if (upstream->servers[i] != NULL)
            continue;
        upstream->servers[i] = server_new(upstream, members[i]);
        upstream->servers[i]->bit = choose_bit(used, gone, i);
        used |= upstream->servers[i]->bit;
    }
}

void sky_upstream_refresh(struct sky_upstream *upstream)
{
    struct sky_upstream_server **former = upstream->servers;
    size_t former_count = upstream->server_count;
    struct sky_member **members =
        sky_roster_copy(upstream->roster, &upstream->server_count, &upstream->version);

    upstream->servers = h2o_mem_alloc((upstream->server_count + 1) * sizeof(*upstream->servers));
    for (size_t i = 0; i < upstream->server_count; ++i) {
        upstream->servers[i] = take_former(former, former_count, members[i]);
        if (upstream->servers[i] != NULL)
            sky_member_release(members[i]); /* it has a hold already */
    }
    for (size_t i = 0; i < former_count; ++i)
        if (former[i] != NULL)
            leave(upstream, former[i]);
    free_gone(upstream);
    begin_servers(upstream, members);
    free(former);
    free(members);
}

struct sky_upstream *sky_upstream_new(h2o_context_t *ctx, struct sky_roster *roster, size_t worker,
                                      const struct sky_config *config,
                                      struct sky_counters *counters)
{
    struct sky_upstream *self = h2o_mem_alloc(sizeof(*self));

    memset(self, 0, sizeof(*self));
    self->ctx = ctx;
    self->config = roster->config;
    self->counters = counters;
    self->roster = roster;
    self->worker = worker;
    h2o_timeout_init(ctx->loop, &self->connect, config->timeouts.connect_ms);
    h2o_timeout_init(ctx->loop, &self->response, config->timeouts.response_ms);
    h2o_timeout_init(ctx->loop, &self->idle, config->timeouts.upstream_idle_ms);
    h2o_timeout_init(ctx->loop, &self->retry, BACKLOG_RETRY_MS);
    h2o_timeout_init(ctx->loop, &self->head_hold, HEAD_HOLD_MS);
    h2o_timeout_init(ctx->loop, &self->patience, self->config->queue.timeout_ms);
    self->once = config->timeouts.upstream_idle_ms == 0 ||
                 self->config->protocol == SKY_UPSTREAM_UWSGI ||
                 self->config->proxy_protocol != SKY_PROXY_PROTOCOL_OFF;
    sky_upstream_refresh(self);
    sky_turn_init_upstream(self);
    return self;
}

h2o_timeout_t *sky_upstream_clock(struct sky_upstream *upstream, uint32_t response_ms)
{
    if (response_ms == 0)
        return &upstream->response;
    for (struct sky_upstream_clock *clock = upstream->clocks; clock != NULL; clock = clock->next)
        if (clock->timeout.timeout == response_ms)
            return &clock->timeout;
    struct sky_upstream_clock *clock = h2o_mem_alloc(sizeof(*clock));
    clock->next = upstream->clocks;
    upstream->clocks = clock;
    h2o_timeout_init(upstream->ctx->loop, &clock->timeout, response_ms);
    return &clock->timeout;
}

static void leave_idle(struct sky_upstream_conn *conn)
{
    h2o_linklist_unlink(&conn->idle);
    conn->server->idle_count--;
    h2o_timeout_unlink(&conn->idle_timer);
}

static void on_event(h2o_socket_t *sock, const char *err)
{
    struct sky_upstream_conn *conn = sock->data;

    (void)err; /* DONT_READ: the error, if any, comes out of the owner's recv */
    if (conn->on_readable != NULL)
        conn->on_readable(conn);
    else
        sky_upstream_close(conn); /* idle: closed by the server, or bytes that nobody asked for */
}

static void on_idle_timeout(h2o_timeout_entry_t *entry)
{
    sky_upstream_close(H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, idle_timer, entry));
}

struct sky_upstream_conn *sky_upstream_adopt(struct sky_upstream_server *server, h2o_socket_t *sock)
{
    struct sky_upstream_conn *conn = h2o_mem_alloc(sizeof(*conn));

    *conn = (struct sky_upstream_conn){.sock = sock,
                                       .server = server,
                                       .once = server->upstream->once,
                                       .response = &server->upstream->response,
                                       .idle_timer = {.cb = on_idle_timeout}};
    sock->data = conn;
    sky_server_hold(server);
    h2o_socket_read_start(sock, on_event);
    return conn;
}

struct sky_upstream_conn *sky_upstream_take(struct sky_upstream_server *server,
                                            uint64_t max_idle_ms)
{
    if (h2o_linklist_is_empty(&server->idle))
        return NULL;
    struct sky_upstream_conn *conn =
        H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, idle, server->idle.next);
    if (h2o_now(server->upstream->ctx->loop) - conn->idle_since_ms >= max_idle_ms)
        return NULL;
    leave_idle(conn);
    return conn;
}

void sky_upstream_give_back(struct sky_upstream_conn *conn)
{
    struct sky_upstream_server *server = conn->server;
    h2o_loop_t *loop = server->upstream->ctx->loop;

    assert(!h2o_socket_is_writing(conn->sock) && h2o_socket_is_reading(conn->sock));
    conn->on_readable = NULL;
    conn->owner = NULL;
    conn->reused = true;
    if (conn->once || server->has_gone || server->upstream->retired ||
        server->idle_count == SKY_UPSTREAM_MAX_IDLE ||
        (conn->ssl != NULL && !sky_back_tls_is_clean(conn))) {
        sky_upstream_close(conn);
        return;
    }
    conn->idle_since_ms = h2o_now(loop);
    h2o_linklist_insert(server->idle.next, &conn->idle);
    server->idle_count++;
    h2o_timeout_link(loop, &server->upstream->idle, &conn->idle_timer);
}

void sky_upstream_stop_reading(struct sky_upstream_conn *conn)
{
    h2o_socket_read_stop(conn->sock);
}

void sky_upstream_resume_reading(struct sky_upstream_conn *conn)
{
    h2o_socket_read_start(conn->sock, on_event);
    if (conn->ssl != NULL)
        sky_back_tls_resume(conn);
}

void sky_upstream_close(struct sky_upstream_conn *conn)
{
    if (h2o_linklist_is_linked(&conn->idle))
        leave_idle(conn);
    if (conn->ssl != NULL)
        sky_back_tls_close(conn);
    h2o_socket_close(conn->sock);
    sky_server_release(conn->server);
    free(conn);
}

void sky_upstream_destroy(struct sky_upstream *upstream)
{
    h2o_timeout_t *timeouts[] = {&upstream->connect, &upstream->response,  &upstream->idle,
                                 &upstream->retry,   &upstream->head_hold, &upstream->patience};

    sky_turn_fini_upstream(upstream);
    for (size_t i = 0; i < upstream->server_count; ++i)
        server_destroy(upstream->servers[i]);
    for (size_t i = 0; i < upstream->gone_count; ++i)
        server_destroy(upstream->gone[i]);
    free(upstream->servers);
    free(upstream->gone);
    for (size_t i = 0; i < sizeof(timeouts) / sizeof(timeouts[0]); ++i)
        h2o_timeout_dispose(upstream->ctx->loop, timeouts[i]);
    while (upstream->clocks != NULL) {
        struct sky_upstream_clock *clock = upstream->clocks;
        upstream->clocks = clock->next;
        h2o_timeout_dispose(upstream->ctx->loop, &clock->timeout);
        free(clock);
    }
    free(upstream);
}

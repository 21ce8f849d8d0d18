/* SPDX-License-Identifier: Apache-2.0 */
/* The life of client connections.
 *
 * Happy path: accept -> bytes -> sky_conn_advance runs requests -> answers -> idle -> the client
 * closes, or the idle timer does.
 * Failures: no whole head in time: 408. A body stands still: 408 by its handler. The client takes
 * nothing of an answer: reset. It goes away while a request runs: the generator is stopped. We
 * close while it may still send: our side first, the rest after it has seen the answer (LINGER),
 * since the reset that answers unread bytes would destroy the answer on its way. */
#include "proxy/front/http1_front.h"

#include <fcntl.h>
#include <unistd.h>

#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"

/* RFC 9112, 9.6: how long a client that goes on sending after our last byte may be silent. */
#define LINGER_SILENCE_MS 5000

/* How long an idle or lingering connection stays when we drain: a request may be on its way, and
 * closing under it would fail it. Its answer says Connection: close. */
#define DRAIN_SILENCE_MS 1000

void sky_front_prepare(h2o_globalconf_t *config)
{
    h2o_pathconf_t scratch = {.global = config};

    h2o_chunked_register(&scratch);
    h2o_filter_t *chunked = scratch.filters.entries[0];
    for (h2o_hostconf_t **host = config->hosts; *host != NULL; host++)
        for (size_t i = 0; i <= (*host)->paths.size; i++) {
            h2o_pathconf_t *path =
                i < (*host)->paths.size ? &(*host)->paths.entries[i] : &(*host)->fallback_path;
            if (path->filters.size == 0)
                continue;
            h2o_filter_t *last = path->filters.entries[path->filters.size - 1];
            if (last->on_setup_ostream != chunked->on_setup_ostream)
                continue;
            path->filters.size--;
            free(last);
        }
    free(chunked);
    free(scratch.filters.entries);
}

struct sky_front *sky_front_new(h2o_context_t *ctx, h2o_hostconf_t **hosts,
                                const struct sky_config *config, struct sky_counters *counters)
{
    struct sky_front *front = h2o_mem_alloc(sizeof *front);

    memset(front, 0, sizeof *front);
    front->ctx = ctx;
    front->hosts = hosts;
    front->counters = counters != NULL ? counters : &front->own_counters;
    front->h2 = sky_h2_settings_new();
    front->body.open = open;
    front->body.write = write;
    h2o_linklist_init_anchor(&front->conns);
    h2o_timeout_init(ctx->loop, &front->handshake_timeout, 0);
    h2o_timeout_init(ctx->loop, &front->idle_timeout, 0);
    h2o_timeout_init(ctx->loop, &front->head_timeout, 0);
    h2o_timeout_init(ctx->loop, &front->body_timeout, 0);
    h2o_timeout_init(ctx->loop, &front->write_timeout, 0);
    h2o_timeout_init(ctx->loop, &front->linger_timeout, LINGER_SILENCE_MS);
    h2o_timeout_init(ctx->loop, &front->drain_timeout, DRAIN_SILENCE_MS);
    sky_front_change(front, config);
    return front;
}

/* A head that has come in part may have been let through by a larger limit than the new one. */
static void make_room_for_fields(struct sky_front *front, size_t count)
{
    if (count <= front->field_capacity)
        return;
    free(front->fields);
    front->fields = h2o_mem_alloc(sizeof *front->fields * count);
    front->field_capacity = count;
}

void sky_front_change(struct sky_front *front, const struct sky_config *config)
{
    front->limits = (struct sky_head_limits){config->limits.request_line, config->limits.header,
                                             config->limits.header_fields};
    make_room_for_fields(front, config->limits.header_fields);
    front->body.limit_bytes = config->limits.body;
    front->body.memory_bytes = config->buffer.memory;
    front->body.directory = config->buffer.directory;
    front->body_rate = config->limits.body_rate;
    front->answer_rate = config->limits.answer_rate;
    front->trust = &config->forwarded.trust;
    sky_h2_settings_change(front->h2, config);
    front->handshake_timeout.timeout = config->timeouts.handshake_ms;
    front->idle_timeout.timeout = config->timeouts.idle_ms;
    front->head_timeout.timeout = config->timeouts.header_ms;
    front->body_timeout.timeout = config->timeouts.body_ms;
    front->write_timeout.timeout = config->timeouts.write_ms;
}

void sky_front_limit_bodies(struct sky_front *front,
                            struct sky_body_policy (*policy)(h2o_req_t *req),
                            struct sky_body_share *share)
{
    front->body_policy = policy;
    front->body.share = share;
}

void sky_front_log_to(struct sky_front *front, struct sky_access_pen *pen)
{
    front->access_pen = pen;
}

void sky_front_accept(struct sky_front *front, h2o_socket_t *sock)
{
    sky_conn_begin(sky_conn_new(front, sock));
}

void sky_front_accept_at(struct sky_front *front, h2o_socket_t *sock, struct sky_door *door)
{
    struct sky_conn *conn = sky_conn_new(front, sock);

    conn->door = sky_door_hold(door);
    conn->may_be_h2c = door->config->h2c;
    if (door->config->proxy_protocol)
        sky_conn_greet(conn);
    else
        sky_conn_welcome(conn);
}

void sky_front_drain(struct sky_front *front)
{
    if (front->draining) /* a stop after a drain */
        return;
    front->draining = true;
    for (h2o_linklist_t *node = front->conns.next, *next; node != &front->conns; node = next) {
        struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, node);
        next = node->next;
        if (conn->state == SKY_CONN_IDLE)
            sky_conn_wait_idle(conn);
        else if (conn->state == SKY_CONN_LINGER)
            sky_conn_wait_for_silence(conn);
        else if (conn->h2 != NULL)
            sky_h2_drain(conn->h2); /* conn may be gone */
    }
}

bool sky_front_close_oldest_idle(struct sky_front *front)
{
    h2o_linklist_t *oldest = front->idle_timeout._entries.next;

    if (oldest == &front->idle_timeout._entries)
        return false;
    h2o_timeout_entry_t *timer = H2O_STRUCT_FROM_MEMBER(h2o_timeout_entry_t, _link, oldest);
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, timer, timer);
    if (conn->h2 != NULL)
        sky_h2_dismiss(conn->h2);
    else
        sky_conn_close(conn);
    return true;
}

size_t sky_front_connection_count(const struct sky_front *front)
{
    return atomic_load_explicit(&front->conn_count, memory_order_relaxed);
}

void sky_front_close_all(struct sky_front *front)
{
    while (!h2o_linklist_is_empty(&front->conns))
        sky_conn_close(H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, front->conns.next));
}

void sky_front_destroy(struct sky_front *front)
{
    h2o_loop_t *loop = front->ctx->loop;

    sky_front_close_all(front);
    h2o_timeout_dispose(loop, &front->handshake_timeout);
    h2o_timeout_dispose(loop, &front->idle_timeout);
    h2o_timeout_dispose(loop, &front->head_timeout);
    h2o_timeout_dispose(loop, &front->body_timeout);
    h2o_timeout_dispose(loop, &front->write_timeout);
    h2o_timeout_dispose(loop, &front->linger_timeout);
    h2o_timeout_dispose(loop, &front->drain_timeout);
    sky_h2_settings_destroy(front->h2);
    free(front->fields);
    free(front);
}

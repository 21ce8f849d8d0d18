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

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/exchange/tunnel.h"
#include "proxy/front/http1_conn.h"

/* RFC 9112, 9.6: how long a client may go on sending after our last byte, in all and between reads.
 */
#define LINGER_MS 30000
#define LINGER_SILENCE_MS 5000

/* How long an idle or lingering connection stays when we drain: a request may be on its way, and
 * closing under it would fail it. Its answer says Connection: close. */
#define DRAIN_SILENCE_MS 1000

/* Read at once: what a head needs; what a body is worth. */
#define READ_HEAD_BYTES 4096
#define READ_BODY_BYTES 65536

static void on_idle_timeout(h2o_timeout_entry_t *entry);
static void on_linger_timeout(h2o_timeout_entry_t *entry);
static void on_rest(h2o_timeout_entry_t *entry);
static void on_read(h2o_socket_t *sock, const char *err);
static void on_bytes(struct sky_conn *conn);

/* ---- what h2o asks a connection ---- */

static struct sky_conn *of_super(h2o_conn_t *super)
{
    return H2O_STRUCT_FROM_MEMBER(struct sky_conn, super, super);
}

static socklen_t get_sockname(h2o_conn_t *super, struct sockaddr *address)
{
    return h2o_socket_getsockname(of_super(super)->sock, address);
}

static socklen_t get_peername(h2o_conn_t *super, struct sockaddr *address)
{
    return h2o_socket_getpeername(of_super(super)->sock, address);
}

static h2o_socket_t *get_socket(h2o_conn_t *super)
{
    return of_super(super)->sock;
}

static const h2o_conn_callbacks_t callbacks = {
    .get_sockname = get_sockname, .get_peername = get_peername, .get_socket = get_socket};

struct sky_conn *sky_conn_of(h2o_req_t *req)
{
    return req->conn->callbacks == &callbacks ? of_super(req->conn) : NULL;
}

/* ---- small things for the other files ---- */

void sky_conn_count(struct sky_conn *conn, enum sky_counter counter)
{
    sky_count(conn->front->counters, counter);
}

void sky_conn_set_timer(struct sky_conn *conn, h2o_timeout_t *list, h2o_timeout_cb on_timeout)
{
    h2o_timeout_unlink(&conn->timer);
    conn->timer.cb = on_timeout;
    h2o_timeout_link(conn->super.ctx->loop, list, &conn->timer);
}

const char *sky_conn_peer(struct sky_conn *conn, char host[NI_MAXHOST])
{
    struct sockaddr_storage peer;
    socklen_t len = h2o_socket_getpeername(conn->sock, (struct sockaddr *)&peer);

    if (len == 0 || peer.ss_family == AF_UNIX)
        return "a unix socket";
    if (h2o_socket_getnumerichost((struct sockaddr *)&peer, len, host) == SIZE_MAX)
        host[0] = '\0';
    return host;
}

/* ---- begin and end ---- */

static void on_settle(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, settler, entry);

    if (sky_conn_settle(conn))
        sky_conn_advance(conn);
}

static void dispose_request(struct sky_conn *conn)
{
    h2o_dispose_request(&conn->req);
    sky_body_buffer_fini(&conn->body);
}

static void init_request(struct sky_conn *conn)
{
    memset(&conn->scan, 0, offsetof(struct sky_conn, ostream) - offsetof(struct sky_conn, scan));
    h2o_init_request(&conn->req, &conn->super, NULL);
    sky_conn_start_output(conn);
}

void sky_conn_close(struct sky_conn *conn)
{
    assert(!conn->dispatching);
    h2o_timeout_unlink(&conn->timer);
    h2o_timeout_unlink(&conn->settler);
    h2o_timeout_unlink(&conn->reader);
    dispose_request(conn);
    h2o_socket_close(conn->sock);
    h2o_linklist_unlink(&conn->link);
    atomic_fetch_sub_explicit(&conn->front->conn_count, 1, memory_order_relaxed);
    free(conn);
}

void sky_conn_reset(struct sky_conn *conn)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    setsockopt(h2o_socket_get_fd(conn->sock), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (conn->ssl != NULL) /* a close_notify would look like an end */
        SSL_set_quiet_shutdown(conn->ssl, 1);
    sky_conn_close(conn);
}

static void resume_reading(struct sky_conn *conn)
{
    if (!conn->reading_paused)
        return;
    conn->reading_paused = false;
    h2o_socket_read_start(conn->sock, on_read);
    if (conn->ssl != NULL && !h2o_timeout_is_linked(&conn->reader))
        h2o_timeout_link(conn->super.ctx->loop, &conn->super.ctx->zero_timeout, &conn->reader);
}

static void pause_reading(struct sky_conn *conn)
{
    h2o_socket_read_stop(conn->sock);
    conn->reading_paused = true;
}

static void wait_for_silence(struct sky_conn *conn)
{
    struct sky_front *front = conn->front;

    sky_conn_set_timer(conn, front->draining ? &front->drain_timeout : &front->linger_timeout,
                       on_linger_timeout);
}

static void linger(struct sky_conn *conn)
{
    dispose_request(conn);
    init_request(conn);
    conn->state = SKY_CONN_LINGER;
    conn->linger_until_ms = h2o_now(conn->super.ctx->loop) + LINGER_MS;
    h2o_buffer_consume(&conn->sock->input, conn->sock->input->size);
    conn->io->shut(conn);
    resume_reading(conn);
    wait_for_silence(conn);
}

static void wait_idle(struct sky_conn *conn)
{
    struct sky_front *front = conn->front;

    sky_conn_set_timer(conn, front->draining ? &front->drain_timeout : &front->idle_timeout,
                       on_idle_timeout);
}

bool sky_conn_finish(struct sky_conn *conn)
{
    conn->req.timestamps.response_end_at = *h2o_get_timestamp(conn->super.ctx, NULL, NULL);
    if (conn->must_close || conn->half_closed) {
        bool nothing_to_come = conn->client_closes && conn->sock->input->size == 0;
        if (conn->half_closed || (nothing_to_come && conn->refusal == SKY_REFUSAL_none))
            sky_conn_close(conn);
        else
            linger(conn);
        return false;
    }
    dispose_request(conn);
    init_request(conn);
    conn->state = SKY_CONN_IDLE;
    resume_reading(conn);
    wait_idle(conn);
    return true;
}

static struct sky_conn *new_conn(struct sky_front *front, h2o_socket_t *sock)
{
    struct timeval now = *h2o_get_timestamp(front->ctx, NULL, NULL);
    struct sky_conn *conn = (struct sky_conn *)h2o_create_connection(sizeof *conn, front->ctx,
                                                                     front->hosts, now, &callbacks);

    memset((char *)conn + sizeof conn->super, 0,
           offsetof(struct sky_conn, req) - sizeof conn->super);
    conn->front = front;
    conn->sock = sock;
    conn->io = &sky_conn_plain;
    conn->settler.cb = on_settle;
    conn->reader.cb = on_rest;
    init_request(conn);
    h2o_linklist_insert(&front->conns, &conn->link);
    atomic_fetch_add_explicit(&front->conn_count, 1, memory_order_relaxed);
    sock->data = conn;
    return conn;
}

void sky_conn_begin(struct sky_conn *conn)
{
    conn->state = SKY_CONN_IDLE;
    wait_idle(conn);
    /* We read ourselves: libh2o's loop reads for as long as there is something, without a bound. */
    h2o_socket_dont_read(conn->sock, 1);
    h2o_socket_read_start(conn->sock, on_read);
    if (conn->sock->input->size != 0) /* came with the last bytes of the handshake */
        on_bytes(conn);
}

void sky_front_accept(struct sky_front *front, h2o_socket_t *sock)
{
    sky_conn_begin(new_conn(front, sock));
}

void sky_front_accept_at(struct sky_front *front, h2o_socket_t *sock,
                         const struct sky_listener_config *listener, SSL_CTX *ctx)
{
    struct sky_conn *conn = new_conn(front, sock);

    conn->listener = listener;
    if (ctx != NULL)
        sky_conn_shake_hands(conn, ctx);
    else
        sky_conn_begin(conn);
}

/* ---- tunnels ---- */

struct sky_text sky_front_upgrade(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);

    return conn != NULL ? conn->upgrade : sky_text(NULL, 0);
}

static ssize_t tunnel_receive(void *conn, char *bytes, size_t size)
{
    return ((struct sky_conn *)conn)->io->receive(conn, bytes, size);
}

static ssize_t tunnel_send(void *conn, struct sky_text bytes)
{
    h2o_iovec_t piece = h2o_iovec_init(bytes.base, bytes.len);

    return ((struct sky_conn *)conn)->io->send(conn, &piece, 1);
}

static void tunnel_shut(void *conn)
{
    ((struct sky_conn *)conn)->io->shut(conn);
}

bool sky_front_switch(h2o_req_t *req, struct sky_text protocol, struct sky_tunnel *tunnel)
{
    static const struct sky_tunnel_io io = {tunnel_receive, tunnel_send, tunnel_shut};
    struct sky_conn *conn = sky_conn_of(req);

    /* Interim answers that the client does not take are not worth a queue of their own. */
    if (conn == NULL || conn->state != SKY_CONN_RUNNING || conn->dispatching ||
        conn->response.head_made || h2o_socket_is_writing(conn->sock))
        return false;
    h2o_iovec_t head = sky_conn_switch_head(conn, protocol);
    h2o_buffer_t *input = conn->sock->input;
    h2o_timeout_unlink(&conn->timer);
    h2o_timeout_unlink(&conn->settler);
    conn->response.head_made = true;
    conn->state = SKY_CONN_TUNNEL;
    conn->tunnel = tunnel;
    sky_tunnel_attach(&tunnel->client, conn->sock, &io, conn);
    sky_tunnel_answer(tunnel, sky_text(head.base, head.len));
    sky_tunnel_received(&tunnel->client, sky_text(input->bytes, input->size));
    h2o_buffer_consume(&conn->sock->input, input->size);
    if (conn->ssl != NULL && !h2o_timeout_is_linked(&conn->reader))
        h2o_timeout_link(conn->super.ctx->loop, &conn->super.ctx->zero_timeout, &conn->reader);
    return true;
}

void sky_front_end_tunnel(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);

    assert(conn->state == SKY_CONN_TUNNEL);
    sky_conn_close(conn);
}

/* ---- timers ---- */

static struct sky_conn *of_timer(h2o_timeout_entry_t *entry)
{
    return H2O_STRUCT_FROM_MEMBER(struct sky_conn, timer, entry);
}

static void on_idle_timeout(h2o_timeout_entry_t *entry)
{
    sky_conn_close(of_timer(entry));
}

static void on_linger_timeout(h2o_timeout_entry_t *entry)
{
    sky_conn_close(of_timer(entry));
}

void sky_conn_on_head_timeout(h2o_timeout_entry_t *entry)
{
    sky_conn_refuse_head(of_timer(entry), SKY_REFUSAL_head_timeout);
}

void sky_conn_on_body_timeout(h2o_timeout_entry_t *entry)
{
    sky_conn_refuse_body(of_timer(entry), SKY_REFUSAL_body_timeout);
}

/* What counts is what the client took, not what the kernel did: its buffer hides both a client that
 * takes nothing and one that is slow but alive. */
void sky_conn_on_write_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = of_timer(entry);
    int unsent = 0;

    ioctl(h2o_socket_get_fd(conn->sock), SIOCOUTQ, &unsent);
    int64_t taken = conn->io->handed_over(conn) - unsent;
    if (taken > conn->taken_bytes) {
        conn->taken_bytes = taken;
        sky_conn_set_timer(conn, &conn->front->write_timeout, sky_conn_on_write_timeout);
        return;
    }
    sky_conn_count(conn, SKY_COUNT_cut_write_timeout);
    sky_conn_reset(conn);
}

/* ---- input ---- */

/* As recv(2). */
static ssize_t receive(struct sky_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    size_t wanted = conn->state == SKY_CONN_BODY ? READ_BODY_BYTES : READ_HEAD_BYTES;
    h2o_iovec_t room = h2o_buffer_reserve(input, wanted);

    if (room.base == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (conn->state == SKY_CONN_RUNNING && room.len > SKY_CONN_READ_AHEAD - (*input)->size)
        room.len = SKY_CONN_READ_AHEAD - (*input)->size;
    ssize_t got = conn->io->receive(conn, room.base, room.len);
    if (got > 0)
        (*input)->size += (size_t)got;
    return got;
}

static ssize_t receive_and_drop(struct sky_conn *conn)
{
    char bytes[16384];

    return recv(h2o_socket_get_fd(conn->sock), bytes, sizeof bytes, 0);
}

static void take_time(struct timeval *at)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    *at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
}

static void on_bytes(struct sky_conn *conn)
{
    switch (conn->state) {
    case SKY_CONN_HANDSHAKE:
        break;
    case SKY_CONN_IDLE:
        take_time(&conn->read_at);
        sky_conn_advance(conn);
        break;
    case SKY_CONN_HEAD:
    case SKY_CONN_BODY:
        sky_conn_advance(conn);
        break;
    case SKY_CONN_RUNNING:
        take_time(&conn->read_at);
        if (conn->sock->input->size >= SKY_CONN_READ_AHEAD)
            pause_reading(conn);
        break;
    case SKY_CONN_TUNNEL:
        break;
    case SKY_CONN_LINGER:
        if (h2o_now(conn->super.ctx->loop) < conn->linger_until_ms)
            wait_for_silence(conn);
        else
            sky_conn_close(conn);
        break;
    }
}

/* The client has shut its side, or is gone (`lost`). While a request runs both mean that nobody
 * waits for the answer any more, and the generator is told; but an answer that is complete still
 * goes to who only shut its side. */
static void on_end(struct sky_conn *conn, bool lost)
{
    bool complete = conn->response.then == SKY_THEN_FINISH;

    if (complete && !lost) {
        pause_reading(conn);
        conn->half_closed = true;
        return;
    }
    if (conn->state == SKY_CONN_BODY || conn->state == SKY_CONN_RUNNING)
        sky_conn_count(conn, SKY_COUNT_client_gone);
    sky_conn_close(conn);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct sky_conn *conn = sock->data;
    ssize_t got = conn->state == SKY_CONN_LINGER ? receive_and_drop(conn) : receive(conn);

    (void)err; /* of reads that libh2o does */
    if (got > 0)
        on_bytes(conn);
    else if (got == 0)
        on_end(conn, false);
    else if (errno != EAGAIN && errno != EINTR)
        on_end(conn, true);
}

static void on_rest(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, reader, entry);

    if (conn->state == SKY_CONN_TUNNEL)
        sky_tunnel_receive(&conn->tunnel->client);
    else if (!conn->reading_paused)
        on_read(conn->sock, NULL);
}

/* ---- the front ---- */

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
    front->limits = (struct sky_head_limits){config->limits.request_line, config->limits.header,
                                             config->limits.header_fields};
    front->body = (struct sky_body_settings){config->limits.body, config->buffer.memory,
                                             config->buffer.directory, open, write};
    front->fields = h2o_mem_alloc(sizeof *front->fields * config->limits.header_fields);
    h2o_linklist_init_anchor(&front->conns);
    h2o_timeout_init(ctx->loop, &front->handshake_timeout, config->timeouts.handshake_ms);
    h2o_timeout_init(ctx->loop, &front->idle_timeout, config->timeouts.idle_ms);
    h2o_timeout_init(ctx->loop, &front->head_timeout, config->timeouts.header_ms);
    h2o_timeout_init(ctx->loop, &front->body_timeout, config->timeouts.body_ms);
    h2o_timeout_init(ctx->loop, &front->write_timeout, config->timeouts.write_ms);
    h2o_timeout_init(ctx->loop, &front->linger_timeout, LINGER_SILENCE_MS);
    h2o_timeout_init(ctx->loop, &front->drain_timeout, DRAIN_SILENCE_MS);
    return front;
}

void sky_front_limit_bodies(struct sky_front *front, size_t (*limit)(h2o_req_t *req))
{
    front->body_limit = limit;
}

void sky_front_log_to(struct sky_front *front, struct sky_access_pen *pen)
{
    front->access_pen = pen;
}

void sky_front_drain(struct sky_front *front)
{
    front->draining = true;
    for (h2o_linklist_t *node = front->conns.next; node != &front->conns; node = node->next) {
        struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, node);
        if (conn->state == SKY_CONN_IDLE)
            wait_idle(conn);
        else if (conn->state == SKY_CONN_LINGER)
            wait_for_silence(conn);
    }
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
    free(front->fields);
    free(front);
}

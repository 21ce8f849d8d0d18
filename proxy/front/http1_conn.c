/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one client connection. Its happy path and its failures: http1_front.c. */
#include <assert.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"

/* RFC 9112, 9.6: how long a client may go on sending after our last byte, in all. */
#define LINGER_MS 30000

static void on_idle_timeout(h2o_timeout_entry_t *entry);
static void on_linger_timeout(h2o_timeout_entry_t *entry);

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

struct sky_conn *sky_conn_of(const h2o_req_t *req)
{
    return req->conn->callbacks == &callbacks ? of_super(req->conn) : NULL;
}

const struct sky_trust *sky_front_forwarded_trust(const h2o_req_t *req,
                                                  const struct sky_trust *general)
{
    const struct sky_conn *conn = sky_conn_of(req);

    return conn != NULL && conn->door != NULL
               ? sky_trust_or(&conn->door->config->forwarded_trust, general)
               : general;
}

const struct sky_trust *sky_front_trust_incoming(const h2o_req_t *req,
                                                 const struct sky_trust *general)
{
    const struct sky_conn *conn = sky_conn_of(req);

    return conn != NULL && conn->door != NULL
               ? sky_trust_or(&conn->door->config->trust_incoming, general)
               : general;
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
    sky_conn_end_stream(conn);
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
    if (conn->h2 != NULL)
        sky_h2_destroy(conn->h2);
    dispose_request(conn);
    free(conn->greeting);
    h2o_socket_close(conn->sock);
    SSL_CTX_free(conn->shaking);
    sky_door_release(conn->door);
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

void sky_conn_wait_for_silence(struct sky_conn *conn)
{
    struct sky_front *front = conn->front;

    sky_conn_set_timer(conn, front->draining ? &front->drain_timeout : &front->linger_timeout,
                       on_linger_timeout);
}

void sky_conn_linger(struct sky_conn *conn)
{
    dispose_request(conn);
    init_request(conn);
    conn->state = SKY_CONN_LINGER;
    conn->linger_until_ms = h2o_now(conn->super.ctx->loop) + LINGER_MS;
    h2o_buffer_consume(&conn->sock->input, conn->sock->input->size);
    conn->io->shut(conn);
    sky_conn_resume_reading(conn);
    sky_conn_wait_for_silence(conn);
}

void sky_conn_wait_idle(struct sky_conn *conn)
{
    struct sky_front *front = conn->front;

    sky_conn_set_timer(conn, front->draining ? &front->drain_timeout : &front->idle_timeout,
                       on_idle_timeout);
}

bool sky_conn_finish(struct sky_conn *conn)
{
    conn->req.timestamps.response_end_at = *h2o_get_timestamp(conn->super.ctx, NULL, NULL);
    if (conn->must_close || sky_conn_is_last(conn)) {
        bool nothing_to_come = conn->client_closes && !conn->stream.unread &&
                               conn->policy.retry_after_s == 0 && conn->sock->input->size == 0;
        if (conn->half_closed || (nothing_to_come && conn->refusal == SKY_REFUSAL_none))
            sky_conn_close(conn);
        else
            sky_conn_linger(conn);
        return false;
    }
    dispose_request(conn);
    init_request(conn);
    conn->state = SKY_CONN_IDLE;
    sky_conn_resume_reading(conn);
    sky_conn_wait_idle(conn);
    return true;
}

struct sky_conn *sky_conn_new(struct sky_front *front, h2o_socket_t *sock)
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
    conn->reader.cb = sky_conn_on_rest;
    init_request(conn);
    h2o_linklist_insert(&front->conns, &conn->link);
    atomic_fetch_add_explicit(&front->conn_count, 1, memory_order_relaxed);
    sock->data = conn;
    return conn;
}

static bool has_chosen_http2(const struct sky_conn *conn)
{
    const unsigned char *protocol = NULL;
    unsigned len = 0;

    if (conn->ssl != NULL)
        SSL_get0_alpn_selected(conn->ssl, &protocol, &len);
    return len == 2 && memcmp(protocol, "h2", 2) == 0;
}

void sky_conn_welcome(struct sky_conn *conn)
{
    if (conn->door->tls != NULL)
        sky_conn_shake_hands(conn, conn->door->tls);
    else
        sky_conn_begin(conn);
}

void sky_conn_begin(struct sky_conn *conn)
{
    bool http2 = has_chosen_http2(conn);

    conn->state = http2 ? SKY_CONN_HTTP2 : SKY_CONN_IDLE;
    sky_conn_wait_idle(conn);
    sky_conn_start_reading(conn);
    if (http2)
        sky_h2_begin(conn);
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
    int64_t taken = conn->io->handed_over(conn) - unsent, progress = taken - conn->taken_bytes;
    if (progress > 0 && (uint64_t)progress * 1000 >=
                            conn->front->answer_rate * conn->front->write_timeout.timeout) {
        conn->taken_bytes = taken;
        sky_conn_set_timer(conn, &conn->front->write_timeout, sky_conn_on_write_timeout);
        return;
    }
    sky_conn_count(conn, progress > 0 ? SKY_COUNT_cut_answer_rate : SKY_COUNT_cut_write_timeout);
    sky_conn_reset(conn);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to a server.
 *
 * Happy path: start -> connect -> [writable] -> done(connection). A unix socket is connected at
 * once. With TLS, the handshake comes before done, within timeouts.connect.
 *
 * Failures:
 * - one address of localhost fails: the other one is tried, then the last reason is given. Dials to
 *   come try it last for fail_timeout.
 * - unix backlog full (EAGAIN): the dial queues; the first of the queue is tried every 5 ms.
 * - no TLS: the reason, and no other address is tried.
 * - timeouts.connect has passed: BACKLOG_FULL from the queue, else CONNECT_TIMEOUT. */
#include "proxy/back/dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/back/back_tls.h"
#include "reporter/log.h"

static void connect_next(struct sky_dial *dial);
static void start_handshake(struct sky_dial *dial);

static void finish(struct sky_dial *dial, struct sky_upstream_conn *conn, enum sky_failure failure)
{
    h2o_timeout_unlink(&dial->deadline);
    assert(dial->sock == NULL && !h2o_linklist_is_linked(&dial->waiting));
    dial->done(dial, conn, failure);
}

static enum sky_failure failure_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return SKY_FAILURE_REFUSED;
    case ENOENT:
    case ENOTDIR:
        return SKY_FAILURE_NO_SOCKET;
    case EACCES:
    case EPERM:
        return SKY_FAILURE_DENIED;
    case ETIMEDOUT:
        return SKY_FAILURE_CONNECT_TIMEOUT;
    default:
        return SKY_FAILURE_UNREACHABLE;
    }
}

/* All addresses failed; the last error is the reason. */
static void give_up(struct sky_dial *dial)
{
    static struct sky_log_limit limit;

    sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s: cannot connect to %s: %s",
                    dial->server->upstream->config->name, dial->server->member->label,
                    strerror(dial->error));
    finish(dial, NULL, failure_of(dial->error));
}

/* --- TLS --- */

static void free_handshake(struct sky_dial *dial)
{
    SSL_free(dial->ssl);
    dial->ssl = NULL;
    h2o_socket_close(dial->sock);
    dial->sock = NULL;
}

/* The other address of localhost has the same certificate: it is not tried. */
static void fail_handshake(struct sky_dial *dial, enum sky_failure failure, const char *detail)
{
    static struct sky_log_limit limit;

    sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s: no TLS with %s: %s",
                    dial->server->upstream->config->name, dial->server->member->label, detail);
    free_handshake(dial);
    finish(dial, NULL, failure);
}

static void end_handshake(struct sky_dial *dial)
{
    struct sky_counters *counters = dial->server->upstream->counters;
    h2o_socket_t *sock = dial->sock;
    SSL *ssl = dial->ssl;

    sky_count(counters, SSL_session_reused(ssl) ? SKY_COUNT_upstream_tls_resumed
                                                : SKY_COUNT_upstream_tls_full);
    dial->sock = NULL;
    dial->ssl = NULL;
    struct sky_upstream_conn *conn = sky_upstream_adopt(dial->server, sock);
    sky_back_tls_adopt(conn, ssl);
    finish(dial, conn, SKY_FAILURE_NONE);
}

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct sky_dial *dial = sock->data;
    enum sky_failure failure;
    const char *detail;

    (void)err; /* DONT_READ: OpenSSL meets it */
    switch (sky_back_tls_handshake(dial->ssl, &failure, &detail)) {
    case SKY_BACK_TLS_DONE:
        end_handshake(dial);
        break;
    case SKY_BACK_TLS_READ:
        if (!h2o_socket_is_reading(sock))
            h2o_socket_read_start(sock, on_handshake);
        break;
    case SKY_BACK_TLS_WRITE:
        if (!h2o_socket_is_writing(sock))
            h2o_socket_notify_write(sock, on_handshake);
        break;
    case SKY_BACK_TLS_FAILED:
        fail_handshake(dial, failure, detail);
        break;
    }
}

static void start_handshake(struct sky_dial *dial)
{
    dial->ssl = sky_back_tls_new(dial->server, dial->sock);
    if (dial->ssl == NULL)
        fail_handshake(dial, SKY_FAILURE_TLS_HANDSHAKE, "memory is out");
    else
        on_handshake(dial->sock, NULL);
}

/* --- connecting --- */

/* A fresh socket takes so few bytes at once. */
static bool send_preface(struct sky_dial *dial)
{
    ssize_t sent =
        send(h2o_socket_get_fd(dial->sock), dial->preface.base, dial->preface.len, MSG_NOSIGNAL);

    if (sent == (ssize_t)dial->preface.len)
        return true;
    dial->error = sent == -1 ? errno : EIO;
    h2o_socket_close(dial->sock);
    dial->sock = NULL;
    return false;
}

/* An address is not like another: the next dial tries it last, or first. */
static void note_failed(struct sky_dial *dial)
{
    dial->server->addresses[dial->address].failed_ms = h2o_now(dial->server->upstream->ctx->loop);
}

static void note_worked(struct sky_dial *dial)
{
    struct sky_upstream_server *server = dial->server;

    server->addresses[dial->address].failed_ms = 0;
    server->first = dial->address; /* of localhost's two, who listens on one does not on both */
}

static void succeed(struct sky_dial *dial)
{
    struct sky_upstream_server *server = dial->server;
    h2o_socket_t *sock = dial->sock;

    note_worked(dial);
    sky_count(server->upstream->counters, SKY_COUNT_upstream_connects);
    if (dial->preface.len != 0 && !send_preface(dial)) {
        connect_next(dial);
        return;
    }
    if (server->upstream->roster->tls != NULL) {
        start_handshake(dial);
        return;
    }
    dial->sock = NULL;
    finish(dial, sky_upstream_adopt(server, sock), SKY_FAILURE_NONE);
}

static void on_connected(h2o_socket_t *sock, const char *err)
{
    struct sky_dial *dial = sock->data;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(h2o_socket_get_fd(sock), SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && err == NULL) {
        succeed(dial);
        return;
    }
    dial->sock = NULL;
    dial->error = error != 0 ? error : EIO;
    note_failed(dial);
    h2o_socket_close(sock);
    connect_next(dial);
}

enum outcome { CONNECTED, CONNECTING, REFUSED, FULL };

/* Opens a socket to one address; errno tells the reason of REFUSED. */
static enum outcome open_socket(struct sky_dial *dial, const struct sky_upstream_address *address)
{
    const struct sockaddr *sockaddr = (const struct sockaddr *)&address->sockaddr;
    int fd = socket(sockaddr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd == -1)
        return REFUSED;
    if (sockaddr->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bool connected = connect(fd, sockaddr, address->len) == 0;
    if (!connected && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return error == EAGAIN ? FULL : REFUSED;
    }
    dial->sock =
        h2o_evloop_socket_create(dial->server->upstream->ctx->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    dial->sock->data = dial;
    return connected ? CONNECTED : CONNECTING;
}

static void wait_for_backlog(struct sky_dial *dial)
{
    struct sky_upstream_server *server = dial->server;

    dial->backlogged = true;
    h2o_linklist_insert(&server->backlogged, &dial->waiting);
    if (!h2o_timeout_is_linked(&server->retry))
        h2o_timeout_link(server->upstream->ctx->loop, &server->upstream->retry, &server->retry);
}

/* The next address in turn that was not tried; those that have failed of late come last. False:
 * all were. */
static bool next_address(struct sky_dial *dial)
{
    const struct sky_upstream_server *server = dial->server;
    uint64_t now_ms = h2o_now(server->upstream->ctx->loop);
    uint64_t patience_ms = server->upstream->config->fail_timeout_ms;

    for (size_t i = 0; i < 2 * server->address_count; ++i) {
        size_t at = (dial->first + i) % server->address_count;
        uint64_t failed_ms = server->addresses[at].failed_ms;
        bool of_late = failed_ms != 0 && now_ms - failed_ms < patience_ms;
        if ((dial->tried & 1U << at) != 0 || (of_late && i < server->address_count))
            continue;
        dial->address = at;
        dial->tried |= 1U << at;
        return true;
    }
    return false;
}

/* Tries the addresses that are left. */
static void connect_next(struct sky_dial *dial)
{
    struct sky_upstream_server *server = dial->server;

    while (next_address(dial)) {
        switch (open_socket(dial, &server->addresses[dial->address])) {
        case CONNECTED:
            succeed(dial);
            return;
        case CONNECTING:
            h2o_socket_notify_write(dial->sock, on_connected);
            return;
        case FULL:
            dial->tried &= ~(1U << dial->address);
            wait_for_backlog(dial);
            return;
        case REFUSED:
            dial->error = errno;
            note_failed(dial);
            break;
        }
    }
    give_up(dial);
}

/* The queue moves in order: its first dial is tried, and on success the next one too. */
static void on_retry(h2o_timeout_entry_t *entry)
{
    struct sky_upstream_server *server =
        H2O_STRUCT_FROM_MEMBER(struct sky_upstream_server, retry, entry);
    h2o_linklist_t queue;

    h2o_linklist_init_anchor(&queue);
    h2o_linklist_insert_list(&queue, &server->backlogged);
    while (!h2o_linklist_is_empty(&queue) && h2o_linklist_is_empty(&server->backlogged)) {
        struct sky_dial *dial = H2O_STRUCT_FROM_MEMBER(struct sky_dial, waiting, queue.next);
        h2o_linklist_unlink(&dial->waiting);
        connect_next(dial);
    }
    if (h2o_linklist_is_empty(&queue))
        return;
    h2o_linklist_insert_list(&server->backlogged, &queue);
    if (!h2o_timeout_is_linked(&server->retry))
        h2o_timeout_link(server->upstream->ctx->loop, &server->upstream->retry, &server->retry);
}

static void on_deadline(h2o_timeout_entry_t *entry)
{
    struct sky_dial *dial = H2O_STRUCT_FROM_MEMBER(struct sky_dial, deadline, entry);

    sky_dial_cancel(dial);
    finish(dial, NULL, dial->backlogged ? SKY_FAILURE_BACKLOG_FULL : SKY_FAILURE_CONNECT_TIMEOUT);
}

void sky_dial_start(struct sky_dial *dial, struct sky_upstream_server *server,
                    sky_dial_done_fn *done)
{
    dial->done = done;
    dial->server = server;
    dial->tried = 0;
    dial->first = server->first;
    dial->backlogged = false;
    dial->error = 0;
    dial->deadline.cb = on_deadline;
    h2o_timeout_link(server->upstream->ctx->loop, &server->upstream->connect, &dial->deadline);
    if (!h2o_linklist_is_empty(&server->backlogged))
        wait_for_backlog(dial); /* behind those who came first */
    else
        connect_next(dial);
}

void sky_dial_cancel(struct sky_dial *dial)
{
    h2o_timeout_unlink(&dial->deadline);
    if (h2o_linklist_is_linked(&dial->waiting))
        h2o_linklist_unlink(&dial->waiting);
    if (dial->sock != NULL)
        free_handshake(dial);
}

/* Both: who listens on localhost may mean either. */
static void set_loopback(struct sky_upstream_server *server)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&server->addresses[0].sockaddr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server->addresses[1].sockaddr;

    in->sin_family = AF_INET;
    in->sin_port = htons(server->address->port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->addresses[0].len = sizeof(*in);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(server->address->port);
    in6->sin6_addr = in6addr_loopback;
    server->addresses[1].len = sizeof(*in6);
    server->address_count = 2;
}

void sky_dial_init_server(struct sky_upstream_server *server)
{
    const struct sky_address *address = server->address;

    h2o_linklist_init_anchor(&server->backlogged);
    server->retry.cb = on_retry;
    if (sky_address_is_localhost(address)) {
        set_loopback(server);
        return;
    }
    server->addresses[0].sockaddr = address->sockaddr;
    server->addresses[0].len = address->sockaddr_len;
    server->address_count = 1;
}

void sky_dial_fini_server(struct sky_upstream_server *server)
{
    assert(h2o_linklist_is_empty(&server->backlogged));
    h2o_timeout_unlink(&server->retry);
}

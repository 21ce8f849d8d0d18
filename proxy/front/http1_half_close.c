/* SPDX-License-Identifier: Apache-2.0 */
/* A client has shut its sending side while its request runs.
 *
 * It may want the answer all the same, as who pipes requests into nc does, or it may have gone: the
 * end of what it sends looks the same. Who has gone answers with a reset to anything that is sent
 * to it, so it is sent an interim 100, which every client passes over (RFC 9110, 15.2), and another
 * one after 1, 2, 4, ... seconds, since it may have read the first and left then; in HTTP/1.0 there
 * is none, and the answer itself tells. Happy path: the answer is sent, those to requests that have
 * come behind it are too, then the connection is closed. Failures: a reset comes: the client has
 * gone, and the generator is told. The answer has begun and waits for the app: nothing can be sent
 * between, and the client counts as gone. So does one of TLS: its close_notify comes before its
 * close, and who reads the interim between the two sends no reset. */
#include <poll.h>

#include "proxy/front/http1_conn.h"

#define LOOKS_PER_S 10

static bool has_gone(const struct sky_conn *conn)
{
    struct pollfd socket = {.fd = h2o_socket_get_fd(conn->sock)};

    return poll(&socket, 1, 0) > 0 && (socket.revents & (POLLERR | POLLHUP)) != 0;
}

static void ask(struct sky_conn *conn)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (!conn->response.head_made && conn->req.version >= 0x101 &&
        !h2o_socket_is_writing(conn->sock))
        sky_conn_write(conn, h2o_iovec_init(interim, sizeof(interim) - 1));
}

static void look_again(struct sky_conn *conn)
{
    h2o_context_t *ctx = conn->super.ctx;

    h2o_timeout_link(ctx->loop, &ctx->hundred_ms_timeout, &conn->stream_timer);
}

static void on_watch(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, stream_timer, entry);

    if (has_gone(conn)) {
        sky_conn_count(conn, SKY_COUNT_client_gone);
        sky_conn_close(conn);
        return;
    }
    look_again(conn);
    unsigned seconds = ++conn->looks / LOOKS_PER_S;
    if (conn->looks % LOOKS_PER_S == 0 && (seconds & (seconds - 1)) == 0)
        ask(conn);
}

void sky_conn_watch(struct sky_conn *conn)
{
    conn->stream_timer.cb = on_watch;
    look_again(conn);
}

bool sky_conn_half_close(struct sky_conn *conn)
{
    if (conn->state != SKY_CONN_RUNNING || conn->ssl != NULL || conn->stream.unread ||
        (conn->response.head_made && !h2o_socket_is_writing(conn->sock)))
        return false;
    conn->half_closed = true;
    sky_conn_watch(conn);
    ask(conn);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends, and that it has gone. Its happy path and its failures: http1_front.c. */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "proxy/exchange/tunnel.h"
#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"

/* Read at once: what a head needs; what a body is worth. */
#define READ_HEAD_BYTES 4096
#define READ_BODY_BYTES 65536
#define READ_HTTP2_BYTES 32768 /* half as much, one TLS record, while little comes: one recv(2) */

static void on_read(h2o_socket_t *sock, const char *err);

static void pause_reading(struct sky_conn *conn)
{
    h2o_socket_read_stop(conn->sock);
    conn->reading_paused = true;
}

/* As recv(2). A request may begin with more behind it than may be read ahead. */
static ssize_t receive(struct sky_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    bool body = conn->state == SKY_CONN_BODY || conn->stream.unread;
    size_t wanted = body ? READ_BODY_BYTES : READ_HEAD_BYTES;
    size_t most = conn->state == SKY_CONN_RUNNING ? SKY_CONN_READ_AHEAD : SIZE_MAX;

    if ((*input)->size >= most) {
        pause_reading(conn);
        errno = EAGAIN;
        return -1;
    }
    h2o_iovec_t room = h2o_buffer_reserve(input, wanted);
    if (room.base == NULL) {
        errno = ENOMEM;
        return -1;
    }
    most -= (*input)->size;
    ssize_t got = conn->io->receive(conn, room.base, room.len < most ? room.len : most);
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

void sky_conn_read_rest_soon(struct sky_conn *conn)
{
    if (!h2o_timeout_is_linked(&conn->reader))
        h2o_timeout_link(conn->super.ctx->loop, &conn->super.ctx->zero_timeout, &conn->reader);
}

void sky_conn_resume_reading(struct sky_conn *conn)
{
    if (!conn->reading_paused || conn->half_closed)
        return;
    conn->reading_paused = false;
    h2o_socket_read_start(conn->sock, on_read);
    if (conn->ssl != NULL)
        sky_conn_read_rest_soon(conn);
}

static void on_bytes(struct sky_conn *conn)
{
    switch (conn->state) {
    case SKY_CONN_GREETING:
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
        if (conn->stream.unread)
            sky_conn_stream_arrived(conn);
        break;
    case SKY_CONN_HTTP2: /* it begins: bytes that came with those of the handshake */
        take_time(&conn->read_at);
        break;
    case SKY_CONN_TUNNEL:
        break;
    case SKY_CONN_LINGER:
        if (h2o_now(conn->super.ctx->loop) < conn->linger_until_ms)
            sky_conn_wait_for_silence(conn);
        else
            sky_conn_close(conn);
        break;
    }
}

/* The client has shut its side, or is gone (`lost`): then nobody waits for the answer any more, and
 * the generator is told. An answer that is complete goes to who only shut its side, and so does one
 * that may still come (http1_half_close.c). */
static void on_end(struct sky_conn *conn, bool lost)
{
    bool complete = conn->response.then == SKY_THEN_FINISH;

    if (complete && !lost) {
        pause_reading(conn);
        conn->half_closed = true;
        return;
    }
    if (!lost && sky_conn_half_close(conn)) {
        pause_reading(conn);
        return;
    }
    if (conn->state == SKY_CONN_BODY || conn->state == SKY_CONN_RUNNING)
        sky_conn_count(conn, SKY_COUNT_client_gone);
    if (conn->h2 != NULL)
        sky_h2_lost(conn->h2);
    sky_conn_close(conn);
}

/* nghttp2 keeps what is no whole frame yet: a connection needs no buffer of its own. */
static ssize_t receive_http2(struct sky_conn *conn)
{
    char bytes[READ_HTTP2_BYTES];
    size_t size = conn->h2->much ? sizeof bytes : sizeof bytes / 2;
    ssize_t got = conn->io->receive(conn, bytes, size);

    if (got > 0) {
        conn->h2->much = got > READ_HTTP2_BYTES / 4;
        take_time(&conn->read_at);
        sky_h2_input(conn->h2, sky_text(bytes, (size_t)got));
    }
    return got;
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct sky_conn *conn = sock->data;
    bool http2 = conn->h2 != NULL;
    ssize_t got = http2                            ? receive_http2(conn)
                  : conn->state == SKY_CONN_LINGER ? receive_and_drop(conn)
                                                   : receive(conn);

    (void)err; /* of reads that libh2o does */
    if (got > 0 && !http2)
        on_bytes(conn);
    else if (got == 0)
        on_end(conn, false);
    else if (got < 0 && errno != EAGAIN && errno != EINTR)
        on_end(conn, true);
}

void sky_conn_on_rest(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, reader, entry);

    if (conn->state == SKY_CONN_TUNNEL)
        sky_tunnel_receive(&conn->tunnel->client);
    else if (!conn->reading_paused)
        on_read(conn->sock, NULL);
}

void sky_conn_start_reading(struct sky_conn *conn)
{
    /* We read ourselves: libh2o's loop reads for as long as there is something, without a bound. */
    h2o_socket_dont_read(conn->sock, 1);
    h2o_socket_read_start(conn->sock, on_read);
    if (conn->sock->input->size != 0) /* came with the last bytes of the handshake */
        on_bytes(conn);
}

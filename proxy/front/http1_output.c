/* SPDX-License-Identifier: Apache-2.0 */
/* Framed bytes of answers on their way to the socket, and what is done once they are out.
 *
 * Happy path: one send takes what was pushed, and the kernel a part of a file behind it -> settle:
 * the generator goes on, or the next request does. What the kernel does not take waits for the
 * socket.
 * Failures: writing fails: the client is gone. The client takes nothing: http1_conn.c,
 * on_write_timeout. A file ends early, or cannot be sent by the kernel: its generator finds out. */
#include <errno.h>

#include "proxy/front/answer_file.h"
#include "proxy/front/http1_conn.h"

/* After so many bytes that the kernel took at once, other connections have their turn. */
#define BURST_BYTES 262144

/* Settling happens when no handler is below us on the stack. */
static void settle_soon(struct sky_conn *conn)
{
    if (conn->dispatching)
        conn->response.settle_due = true;
    else if (!h2o_timeout_is_linked(&conn->settler))
        h2o_timeout_link(conn->super.ctx->loop, &conn->super.ctx->zero_timeout, &conn->settler);
}

void sky_conn_push(struct sky_conn *conn, h2o_iovec_t bytes)
{
    h2o_vector_reserve(&conn->req.pool, &conn->response.output, conn->response.output.size + 1);
    conn->response.output.entries[conn->response.output.size++] = bytes;
}

static bool has_bytes(const struct sky_conn *conn)
{
    return conn->response.output_first < conn->response.output.size;
}

static ssize_t send_some(struct sky_conn *conn)
{
    return conn->io->send(conn, conn->response.output.entries + conn->response.output_first,
                          conn->response.output.size - conn->response.output_first,
                          conn->response.file != NULL);
}

static void drop_sent(struct sky_conn *conn, size_t sent)
{
    conn->sock->bytes_written += sent;
    conn->response.burst_bytes += sent;
    while (has_bytes(conn)) {
        h2o_iovec_t *entry = &conn->response.output.entries[conn->response.output_first];
        if (entry->len > sent) {
            entry->base += sent;
            entry->len -= sent;
            return;
        }
        sent -= entry->len;
        conn->response.output_first++;
    }
}

static void on_writable(h2o_socket_t *sock, const char *err)
{
    (void)err; /* the next send meets it */
    sky_conn_flush(sock->data);
}

static void wait_writable(struct sky_conn *conn)
{
    h2o_socket_notify_write(conn->sock, on_writable);
    if (conn->state == SKY_CONN_RUNNING && !h2o_timeout_is_linked(&conn->timer))
        sky_conn_set_timer(conn, &conn->front->write_timeout, sky_conn_on_write_timeout);
}

static void flushed(struct sky_conn *conn)
{
    conn->response.output.size = conn->response.output_first = 0;
    if (conn->state == SKY_CONN_RUNNING)
        h2o_timeout_unlink(&conn->timer);
    if (conn->response.then == SKY_THEN_NOTHING)
        return;
    if (conn->response.then == SKY_THEN_PROCEED && conn->response.burst_bytes > BURST_BYTES) {
        conn->response.burst_bytes = 0;
        wait_writable(conn); /* it may just have become full */
        return;
    }
    settle_soon(conn);
}

/* Once a turn, since other connections wait for it. False: it is to go on. Whose failure one was
 * shows when the generator reads the rest and sends it. */
static bool send_file(struct sky_conn *conn)
{
    struct sky_answer_file *file = conn->response.file;
    ssize_t sent = conn->io->send_file(conn, file);

    if (sent > 0) {
        conn->sock->bytes_written += (size_t)sent;
        sky_conn_count_body(conn, (uint64_t)sent);
        file->at += (uint64_t)sent;
        file->left -= (uint64_t)sent;
    }
    if (sent > 0 ? file->left != 0 : sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        wait_writable(conn);
        return false;
    }
    conn->response.file = NULL;
    return true;
}

void sky_conn_flush(struct sky_conn *conn)
{
    if (h2o_socket_is_writing(conn->sock))
        return;
    while (has_bytes(conn)) {
        ssize_t sent = send_some(conn);
        if (sent >= 0) {
            drop_sent(conn, (size_t)sent);
        } else if (errno == EAGAIN) {
            wait_writable(conn);
            return;
        } else if (errno != EINTR) {
            sky_conn_count(conn, SKY_COUNT_client_gone);
            conn->response.then = SKY_THEN_CUT;
            settle_soon(conn);
            return;
        }
    }
    if (conn->response.file == NULL || send_file(conn))
        flushed(conn);
}

void sky_conn_write(struct sky_conn *conn, h2o_iovec_t bytes)
{
    sky_conn_push(conn, bytes);
    sky_conn_flush(conn);
}

bool sky_conn_settle(struct sky_conn *conn)
{
    enum sky_conn_then then = conn->response.then;

    conn->response.then = SKY_THEN_NOTHING;
    conn->response.settle_due = false;
    switch (then) {
    case SKY_THEN_NOTHING:
        break;
    case SKY_THEN_PROCEED:
        h2o_proceed_response(&conn->req);
        break;
    case SKY_THEN_FINISH:
        return sky_conn_finish(conn);
    case SKY_THEN_CUT:
        /* Where the end of the connection is the end of the body, only a reset tells them apart. */
        if (conn->response.to_the_end)
            sky_conn_reset(conn);
        else
            sky_conn_close(conn);
        break;
    }
    return false;
}

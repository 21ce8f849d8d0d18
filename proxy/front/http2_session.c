/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an HTTP/2 connection, and its bytes in and out.
 *
 * Happy path: SETTINGS -> a read is given to nghttp2 -> requests that are whole run -> what nghttp2
 * has to say is sent -> no stream is open for timeouts.idle: GOAWAY, and the connection lingers as
 * one of HTTP/1 does.
 * Failures: a broken frame: nghttp2's GOAWAY, then the same. The client takes nothing: reset. It
 * goes away: generators are stopped. It resets streams without an end: GOAWAY. */
#include "proxy/front/http2.h"

#include <assert.h>
#include <errno.h>

#include "proxy/back/recycle.h"
#include "reporter/log.h"

/* What is freed and kept for the next one; a sanitizer is to see each of them go. */
#ifdef __SANITIZE_ADDRESS__
#define STREAMS_KEPT 0
#define OUTS_KEPT 0
#else
#define STREAMS_KEPT 128
#define OUTS_KEPT 4
#endif

/* Of the bodies of all its requests; what comes is taken off it at once. */
#define CONNECTION_WINDOW_BYTES 4194304

/* After so many bytes that the kernel took at once, other connections have their turn. */
#define BURST_BYTES 262144

/* ---- settings ---- */

struct sky_h2_settings *sky_h2_settings_new(void)
{
    struct sky_h2_settings *settings = h2o_mem_alloc(sizeof *settings);

    *settings =
        (struct sky_h2_settings){.streams = {.max = STREAMS_KEPT}, .outs = {.max = OUTS_KEPT}};
    if (nghttp2_session_callbacks_new(&settings->callbacks) != 0 ||
        nghttp2_option_new(&settings->option) != 0)
        h2o_fatal("no memory");
    sky_h2_set_input_callbacks(settings->callbacks);
    sky_h2_set_output_callbacks(settings->callbacks);
    nghttp2_option_set_no_auto_window_update(settings->option, 1);
    /* resets are counted here, with those that nghttp2 itself sends */
    nghttp2_option_set_stream_reset_rate_limit(settings->option, UINT64_MAX, UINT64_MAX);
    return settings;
}

void sky_h2_settings_change(struct sky_h2_settings *settings, const struct sky_config *config)
{
    settings->max_streams = config->limits.http2_streams;
    settings->max_resets = config->limits.http2_resets;
    /* as many as a head of limits.header needs, and some for clients that cut small */
    nghttp2_option_set_max_continuations(settings->option,
                                         config->limits.header / SKY_H2_FRAME_BYTES + 8);
}

void sky_h2_settings_destroy(struct sky_h2_settings *settings)
{
    nghttp2_session_callbacks_del(settings->callbacks);
    nghttp2_option_del(settings->option);
    sky_recycle_free(&settings->streams);
    sky_recycle_free(&settings->outs);
    free(settings);
}

/* ---- the end ---- */

static void drop_out(struct sky_h2 *h2)
{
    if (h2->out != NULL)
        h2o_mem_free_recycle(&h2->conn->front->h2->outs, h2->out);
    h2->out = NULL;
}

void sky_h2_destroy(struct sky_h2 *h2)
{
    while (!h2o_linklist_is_empty(&h2->streams))
        sky_h2_stream_destroy(H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, link, h2->streams.next));
    h2o_timeout_unlink(&h2->drain_timer);
    h2o_timeout_unlink(&h2->conn->settler);
    nghttp2_session_del(h2->session);
    drop_out(h2);
    free(h2);
}

void sky_h2_lost(struct sky_h2 *h2)
{
    for (h2o_linklist_t *node = h2->streams.next; node != &h2->streams; node = node->next) {
        const struct sky_h2_stream *stream =
            H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, link, node);
        if (stream->state != SKY_H2_HEAD)
            sky_conn_count(h2->conn, SKY_COUNT_client_gone);
    }
}

/* Everything is said. */
static void end(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;
    bool attacked = h2->attacked;

    sky_h2_destroy(h2);
    conn->h2 = NULL;
    if (attacked) /* reading what still comes would be the most of its cost */
        sky_conn_close(conn);
    else
        sky_conn_linger(conn);
}

static void log_end(struct sky_h2 *h2, const char *why)
{
    static struct sky_log_limit limit;
    char host[NI_MAXHOST];

    sky_log_limited(&limit, SKY_LOG_INFO, "HTTP/2 connection of %s ended: %s",
                    sky_conn_peer(h2->conn, host), why);
}

void sky_h2_give_up(struct sky_h2 *h2, uint32_t error, enum sky_counter counter, const char *why)
{
    if (h2->given_up)
        return;
    h2->given_up = true;
    h2->attacked = error == NGHTTP2_ENHANCE_YOUR_CALM;
    sky_conn_count(h2->conn, counter);
    log_end(h2, why);
    nghttp2_session_terminate_session(h2->session, error);
}

void sky_h2_ended(struct sky_h2 *h2)
{
    if (h2->given_up)
        return;
    h2->given_up = true;
    sky_conn_count(h2->conn, SKY_COUNT_http2_closed_protocol);
    log_end(h2, "it breaks the protocol");
}

void sky_h2_note_reset(struct sky_h2 *h2)
{
    uint64_t now_ms = h2o_now(h2->conn->super.ctx->loop);

    if (now_ms - h2->resets_since_ms > SKY_H2_RESET_WINDOW_MS) {
        h2->resets_since_ms = now_ms;
        h2->resets = 0;
    }
    if (++h2->resets > h2->conn->front->h2->max_resets)
        sky_h2_give_up(h2, NGHTTP2_ENHANCE_YOUR_CALM, SKY_COUNT_http2_closed_resets,
                       "too many resets");
}

/* ---- output ---- */

char *sky_h2_put(struct sky_h2 *h2, size_t len)
{
    struct sky_h2_out *out = h2->out;

    if (out == NULL) {
        out = h2->out = h2o_mem_alloc_recycle(&h2->conn->front->h2->outs, sizeof *out);
        out->size = out->first = 0;
    }
    if (out->size >= SKY_H2_OUT_BYTES)
        return NULL;
    assert(len <= SKY_H2_FRAME_BYTES);
    out->size += len;
    return out->bytes + out->size - len;
}

/* False: nghttp2 is beyond help. */
static bool frame_some(struct sky_h2 *h2)
{
    const uint8_t *bytes;
    ssize_t len = 0;

    while ((h2->out == NULL || h2->out->size < SKY_H2_OUT_BYTES) &&
           (len = nghttp2_session_mem_send(h2->session, &bytes)) > 0)
        memcpy(sky_h2_put(h2, (size_t)len), bytes, (size_t)len);
    return len >= 0;
}

static void on_writable(h2o_socket_t *sock, const char *err)
{
    struct sky_conn *conn = sock->data;

    (void)err; /* the next send meets it */
    if (conn->h2 != NULL)
        sky_h2_run(conn->h2);
}

static void wait_writable(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    h2o_socket_notify_write(conn->sock, on_writable);
    sky_conn_set_timer(conn, &conn->front->write_timeout, sky_conn_on_write_timeout);
}

/* What is still to come of its request has no use. This leaves behind the answer and not with it:
 * curl 7.88 that is told both at once takes neither. */
static void refuse_rest(const struct sky_h2 *h2, int32_t id)
{
    if (nghttp2_session_get_stream_remote_close(h2->session, id) == 0)
        nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

/* All bytes are out. */
static void flushed(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    conn->dispatching = true;
    while (!h2o_linklist_is_empty(&h2->ended)) {
        struct sky_h2_stream *stream =
            H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, due, h2->ended.next);
        stream->req.timestamps.response_end_at = *h2o_get_timestamp(conn->super.ctx, NULL, NULL);
        nghttp2_session_set_stream_user_data(h2->session, stream->id, NULL);
        refuse_rest(h2, stream->id);
        sky_h2_stream_destroy(stream);
    }
    /* those only that are due now: one may be due again at once */
    h2o_linklist_t now;
    h2o_linklist_init_anchor(&now);
    h2o_linklist_insert_list(&now, &h2->drained);
    while (!h2o_linklist_is_empty(&now)) {
        struct sky_h2_stream *stream = H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, due, now.next);
        h2o_linklist_unlink(&stream->due);
        h2o_proceed_response(&stream->req);
    }
    conn->dispatching = false;
}

/* True: all is out. False: the socket is full, or conn is gone. */
static bool send_out(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    while (h2->out != NULL) {
        struct sky_h2_out *out = h2->out;
        h2o_iovec_t bytes = h2o_iovec_init(out->bytes + out->first, out->size - out->first);
        ssize_t sent = conn->io->send(conn, &bytes, 1, false);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            wait_writable(h2);
            return false;
        }
        if (sent < 0) {
            sky_h2_lost(h2);
            sky_conn_close(conn);
            return false;
        }
        conn->sock->bytes_written += (size_t)sent;
        out->first += (size_t)sent;
        if (out->first == out->size)
            drop_out(h2);
    }
    return true;
}

static void on_idle_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, timer, entry);

    nghttp2_session_terminate_session(conn->h2->session, NGHTTP2_NO_ERROR);
    sky_h2_run(conn->h2);
}

/* No stream, nothing to send: what comes that is no request does not start it anew. */
static void settle(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    if (nghttp2_session_want_read(h2->session) == 0 &&
        nghttp2_session_want_write(h2->session) == 0) {
        end(h2);
        return;
    }
    if (h2->stream_count != 0)
        h2o_timeout_unlink(&conn->timer);
    else if (!h2o_timeout_is_linked(&conn->timer) || conn->timer.cb != on_idle_timeout)
        sky_conn_set_timer(conn, &conn->front->idle_timeout, on_idle_timeout);
}

void sky_h2_dismiss(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
    if (frame_some(h2) && h2->out != NULL) {
        h2o_iovec_t bytes = h2o_iovec_init(h2->out->bytes, h2->out->size);
        conn->io->send(conn, &bytes, 1, false);
    }
    sky_conn_close(conn);
}

static void dispatch_ready(struct sky_h2 *h2)
{
    h2->conn->dispatching = true;
    sky_h2_tell_readers(h2);
    while (!h2o_linklist_is_empty(&h2->ready)) {
        struct sky_h2_stream *stream =
            H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, due, h2->ready.next);
        h2o_linklist_unlink(&stream->due);
        sky_h2_dispatch(stream);
    }
    h2->conn->dispatching = false;
}

static bool nothing_due(struct sky_h2 *h2)
{
    return h2->out == NULL && h2o_linklist_is_empty(&h2->ready) &&
           h2o_linklist_is_empty(&h2->readable) && h2o_linklist_is_empty(&h2->drained) &&
           h2o_linklist_is_empty(&h2->ended);
}

void sky_h2_run(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;
    uint64_t before = conn->sock->bytes_written;

    for (;;) {
        dispatch_ready(h2);
        if (h2o_socket_is_writing(conn->sock))
            return;
        if (!frame_some(h2)) {
            sky_conn_reset(conn);
            return;
        }
        if (nothing_due(h2))
            break;
        if (!send_out(h2))
            return;
        flushed(h2);
        if (conn->sock->bytes_written - before > BURST_BYTES) {
            wait_writable(h2); /* it may just have become full */
            return;
        }
    }
    settle(h2);
}

static void on_due(h2o_timeout_entry_t *entry)
{
    sky_h2_run(H2O_STRUCT_FROM_MEMBER(struct sky_conn, settler, entry)->h2);
}

void sky_h2_run_soon(struct sky_h2 *h2)
{
    struct sky_conn *conn = h2->conn;

    if (!conn->dispatching && !h2o_timeout_is_linked(&conn->settler))
        h2o_timeout_link(conn->super.ctx->loop, &conn->super.ctx->zero_timeout, &conn->settler);
}

/* ---- stop ---- */

/* RFC 9113, 6.8: first that there is an end, then, after what is on its way has come, which request
 * is the last. A connection without a request yet is not told the first: its client would have come
 * for nothing. */
static void on_drain_timer(h2o_timeout_entry_t *entry)
{
    struct sky_h2 *h2 = H2O_STRUCT_FROM_MEMBER(struct sky_h2, drain_timer, entry);

    h2->notice_due = false;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    sky_h2_run(h2);
}

static void begin_drain(struct sky_h2 *h2)
{
    h2->drain_timer.cb = on_drain_timer;
    h2o_timeout_link(h2->conn->super.ctx->loop, &h2->conn->front->drain_timeout, &h2->drain_timer);
    h2->notice_due = true;
}

static void say_notice(struct sky_h2 *h2)
{
    if (h2->newest_id == -1)
        return;
    h2->notice_due = false;
    nghttp2_submit_shutdown_notice(h2->session);
}

void sky_h2_drain(struct sky_h2 *h2)
{
    begin_drain(h2);
    say_notice(h2);
    sky_h2_run(h2);
}

/* ---- input ---- */

static void fail(struct sky_h2 *h2, ssize_t error)
{
    switch (error) {
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        sky_h2_give_up(h2, NGHTTP2_ENHANCE_YOUR_CALM, SKY_COUNT_http2_closed_flood,
                       "more frames than anybody needs");
        break;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        sky_h2_give_up(h2, NGHTTP2_PROTOCOL_ERROR, SKY_COUNT_http2_closed_protocol, "no preface");
        break;
    default:
        sky_h2_give_up(h2, NGHTTP2_INTERNAL_ERROR, SKY_COUNT_http2_closed_protocol,
                       nghttp2_strerror((int)error));
        break;
    }
}

void sky_h2_input(struct sky_h2 *h2, struct sky_text bytes)
{
    if (!h2->given_up) {
        h2->conn->dispatching = true;
        ssize_t taken =
            nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes.base, bytes.len);
        h2->conn->dispatching = false;
        if (taken < 0)
            fail(h2, taken);
        else if (h2->notice_due)
            say_notice(h2);
    }
    sky_h2_run(h2);
}

/* ---- begin ---- */

static bool say_settings(struct sky_h2 *h2)
{
    const struct sky_front *front = h2->conn->front;
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, front->h2->max_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, SKY_H2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)front->limits.head_bytes},
    };

    return nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries,
                                   sizeof entries / sizeof entries[0]) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                 CONNECTION_WINDOW_BYTES) == 0;
}

void sky_h2_begin(struct sky_conn *conn)
{
    struct sky_h2 *h2 = h2o_mem_alloc(sizeof *h2);

    *h2 = (struct sky_h2){.conn = conn, .newest_id = -1, .skipped_to = -1};
    h2o_linklist_init_anchor(&h2->streams);
    h2o_linklist_init_anchor(&h2->ready);
    h2o_linklist_init_anchor(&h2->drained);
    h2o_linklist_init_anchor(&h2->ended);
    h2o_linklist_init_anchor(&h2->readable);
    conn->h2 = h2;
    conn->state = SKY_CONN_HTTP2;
    conn->settler.cb = on_due;
    sky_conn_count(conn, SKY_COUNT_http2_connections);
    if (nghttp2_session_server_new2(&h2->session, conn->front->h2->callbacks, h2,
                                    conn->front->h2->option) != 0 ||
        !say_settings(h2)) {
        sky_conn_close(conn);
        return;
    }
    if (conn->front->draining)
        begin_drain(h2);
    h2o_buffer_t *input = conn->sock->input;
    h2o_buffer_init(&conn->sock->input, &h2o_socket_buffer_prototype);
    sky_h2_input(h2, sky_text(input->bytes, input->size));
    h2o_buffer_dispose(&input);
}

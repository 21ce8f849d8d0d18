/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that are handed on while they come in.
 *
 * Happy path: the handler gets the request with its head -> bytes come -> on_readable -> the
 * handler reads them out of the connection's input -> the last one.
 * Failures: the client sends nothing, or too little, or too much, or broken chunks: the next read
 * fails, and the handler answers if it can. The answer is complete before the body is: the
 * connection ends after it. The client goes: as with any running request. */
#include "proxy/front/body_stream.h"

#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"

/* What one such body may hold here: the input read ahead, and what is on its way to the app. */
#define CHARGE_BYTES (2 * SKY_CONN_READ_AHEAD)

static void on_silence(h2o_timeout_entry_t *entry);

bool sky_conn_begin_stream(struct sky_conn *conn)
{
    struct sky_conn_stream *stream = &conn->stream;
    struct sky_body_share *share = conn->front->body.share;

    if (share != NULL && !sky_body_share_take(share, CHARGE_BYTES))
        return false;
    stream->open = stream->unread = true;
    stream->limit_bytes = conn->body.limit_bytes;
    conn->stream_timer.cb = on_silence;
    return true;
}

void sky_conn_end_stream(struct sky_conn *conn)
{
    struct sky_body_share *share = conn->front->body.share;

    h2o_timeout_unlink(&conn->stream_timer);
    if (conn->stream.open && share != NULL)
        sky_body_share_give_back(share, CHARGE_BYTES);
    conn->stream = (struct sky_conn_stream){0};
}

static void tell(struct sky_conn *conn)
{
    if (conn->stream.on_readable != NULL)
        conn->stream.on_readable(conn->stream.of);
}

/* The client is waited for: only this time counts against it. */
static void begin_waiting(struct sky_conn *conn)
{
    conn->stream.waiting_since_ms = h2o_now(conn->super.ctx->loop);
    if (!h2o_timeout_is_linked(&conn->stream_timer))
        h2o_timeout_link(conn->super.ctx->loop, &conn->front->body_timeout, &conn->stream_timer);
}

static void end_waiting(struct sky_conn *conn)
{
    if (!h2o_timeout_is_linked(&conn->stream_timer))
        return;
    h2o_timeout_unlink(&conn->stream_timer);
    conn->stream.waited_ms += h2o_now(conn->super.ctx->loop) - conn->stream.waiting_since_ms;
}

static enum sky_stream_result fail(struct sky_conn *conn, enum sky_refusal refusal)
{
    h2o_timeout_unlink(&conn->stream_timer);
    conn->refusal = refusal;
    conn->must_close = true;
    return SKY_STREAM_FAILED;
}

static void on_silence(h2o_timeout_entry_t *entry)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, stream_timer, entry);

    fail(conn, SKY_REFUSAL_body_timeout);
    tell(conn);
}

void sky_conn_stream_arrived(struct sky_conn *conn)
{
    end_waiting(conn);
    tell(conn);
}

bool sky_front_streams(h2o_req_t *req, struct sky_body_stream *stream)
{
    struct sky_conn *conn = sky_conn_of(req);
    const struct sky_h2_stream *of_http2 = sky_h2_stream_of(req);

    if (of_http2 != NULL) {
        *stream = (struct sky_body_stream){!of_http2->has_length, of_http2->content_length};
        return of_http2->upload.open;
    }
    if (conn == NULL || !conn->stream.open)
        return false;
    *stream = (struct sky_body_stream){conn->chunked, conn->body_left};
    return true;
}

void sky_front_on_readable(h2o_req_t *req, void (*back)(void *of), void *of)
{
    struct sky_conn *conn = sky_conn_of(req);
    struct sky_h2_stream *of_http2 = sky_h2_stream_of(req);

    if (of_http2 != NULL) {
        of_http2->upload.on_readable = back;
        of_http2->upload.of = of;
        return;
    }
    conn->stream.on_readable = back;
    conn->stream.of = of;
}

static bool comes_too_slowly(const struct sky_conn *conn)
{
    const struct sky_conn_stream *stream = &conn->stream;

    return stream->waited_ms > conn->front->body_timeout.timeout &&
           stream->received_bytes * 1000 < conn->front->body_rate * stream->waited_ms;
}

/* Takes the framing off `input` into dst; *rest: what of it was not used. */
static enum sky_chunked_result decode(struct sky_conn *conn, struct sky_text *rest, char *dst,
                                      size_t *got)
{
    enum sky_chunked_result result;
    struct sky_text piece;

    while ((result = sky_chunked_next(&conn->decoder, rest, &piece)) == SKY_CHUNKED_DATA) {
        memcpy(dst + *got, piece.base, piece.len);
        *got += piece.len;
    }
    return result;
}

static enum sky_stream_result read_sized(struct sky_conn *conn, char *dst, size_t room, size_t *got)
{
    h2o_buffer_t **input = &conn->sock->input;

    *got = (*input)->size < room ? (*input)->size : room;
    if (*got > conn->body_left)
        *got = (size_t)conn->body_left;
    memcpy(dst, (*input)->bytes, *got);
    h2o_buffer_consume(input, *got);
    conn->body_left -= *got;
    return conn->body_left == 0 ? SKY_STREAM_END : SKY_STREAM_BYTES;
}

static enum sky_stream_result read_chunked(struct sky_conn *conn, char *dst, size_t room,
                                           size_t *got)
{
    h2o_buffer_t **input = &conn->sock->input;
    size_t used = (*input)->size < room ? (*input)->size : room;
    struct sky_text rest = sky_text((*input)->bytes, used);
    enum sky_chunked_result result = decode(conn, &rest, dst, got);

    h2o_buffer_consume(input, used - rest.len);
    if (result == SKY_CHUNKED_ERROR)
        return fail(conn, SKY_REFUSAL_chunk);
    return result == SKY_CHUNKED_DONE ? SKY_STREAM_END : SKY_STREAM_BYTES;
}

enum sky_stream_result sky_front_read(h2o_req_t *req, char *dst, size_t room, size_t *got)
{
    struct sky_conn *conn = sky_conn_of(req);
    struct sky_conn_stream *stream = &conn->stream;
    struct sky_h2_stream *of_http2 = sky_h2_stream_of(req);

    if (of_http2 != NULL)
        return sky_h2_read(of_http2, dst, room, got);
    *got = 0;
    if (conn->refusal != SKY_REFUSAL_none)
        return SKY_STREAM_FAILED;
    if (!stream->unread)
        return SKY_STREAM_END;
    enum sky_stream_result result = SKY_STREAM_BYTES;
    while (result == SKY_STREAM_BYTES && *got == 0 && conn->sock->input->size != 0)
        /* more than once when a read has brought framing alone */
        result =
            conn->chunked ? read_chunked(conn, dst, room, got) : read_sized(conn, dst, room, got);
    if (result == SKY_STREAM_FAILED)
        return result;
    stream->received_bytes += *got;
    if (stream->received_bytes > stream->limit_bytes ||
        sky_chunked_announced(&conn->decoder) > stream->limit_bytes - stream->received_bytes)
        return fail(conn, SKY_REFUSAL_body_size);
    if (comes_too_slowly(conn))
        return fail(conn, SKY_REFUSAL_body_rate);
    sky_conn_resume_reading(conn);
    if (result == SKY_STREAM_END) {
        stream->unread = false;
        end_waiting(conn);
        return result;
    }
    if (conn->sock->input->size == 0)
        begin_waiting(conn);
    return *got != 0 ? SKY_STREAM_BYTES : SKY_STREAM_WAIT;
}

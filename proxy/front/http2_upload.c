/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 bodies that are handed on while they come in (body_stream.h).
 *
 * Happy path: the handler gets the request with its head -> DATA comes -> on_readable -> the
 * handler reads -> as much as it has read the client may send again -> END_STREAM.
 * Failures: the client sends nothing, or too little, or too much: the next read fails, and the
 * handler answers if it can. It resets: the stream is freed as any other. The answer is complete
 * before the body is: the rest is not wanted (RST_STREAM). */
#include "proxy/front/http2.h"

/* What one such body may hold here: a window's worth, and what is on its way to the app. */
#define CHARGE_BYTES (SKY_H2_STREAM_WINDOW_BYTES + 65536)

static struct sky_front *front_of(const struct sky_h2_stream *stream)
{
    return stream->h2->conn->front;
}

bool sky_h2_begin_upload(struct sky_h2_stream *stream)
{
    struct sky_body_share *share = front_of(stream)->body.share;

    if (share != NULL && !sky_body_share_take(share, CHARGE_BYTES))
        return false;
    stream->upload.open = true;
    return true;
}

void sky_h2_end_upload(struct sky_h2_stream *stream)
{
    struct sky_h2_upload *upload = &stream->upload;
    struct sky_body_share *share = front_of(stream)->body.share;

    if (!upload->open)
        return;
    h2o_timeout_unlink(&upload->timer);
    if (h2o_linklist_is_linked(&upload->readable))
        h2o_linklist_unlink(&upload->readable);
    if (upload->input != NULL)
        h2o_buffer_dispose(&upload->input);
    if (share != NULL)
        sky_body_share_give_back(share, CHARGE_BYTES);
    upload->open = false;
}

/* ---- the client is waited for: only this time counts against it ---- */

static void end_waiting(struct sky_h2_stream *stream)
{
    struct sky_h2_upload *upload = &stream->upload;

    if (!h2o_timeout_is_linked(&upload->timer))
        return;
    h2o_timeout_unlink(&upload->timer);
    upload->waited_ms += h2o_now(front_of(stream)->ctx->loop) - upload->waiting_since_ms;
}

static void tell(struct sky_h2_stream *stream)
{
    if (!h2o_linklist_is_linked(&stream->upload.readable))
        h2o_linklist_insert(&stream->h2->readable, &stream->upload.readable);
}

static void fail(struct sky_h2_stream *stream, enum sky_refusal refusal)
{
    end_waiting(stream);
    stream->refusal = refusal;
    if (stream->state == SKY_H2_READY) /* else its handler, which is told, does */
        sky_h2_note_refusal(stream);
}

static void on_silence(h2o_timeout_entry_t *entry)
{
    struct sky_h2_stream *stream =
        H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, upload.timer, entry);

    fail(stream, SKY_REFUSAL_body_timeout);
    tell(stream);
    sky_h2_run(stream->h2);
}

static void begin_waiting(struct sky_h2_stream *stream)
{
    struct sky_h2_upload *upload = &stream->upload;
    struct sky_front *front = front_of(stream);

    if (h2o_timeout_is_linked(&upload->timer))
        return;
    upload->waiting_since_ms = h2o_now(front->ctx->loop);
    upload->timer.cb = on_silence;
    h2o_timeout_link(front->ctx->loop, &front->body_timeout, &upload->timer);
}

static bool comes_too_slowly(const struct sky_h2_stream *stream)
{
    const struct sky_h2_upload *upload = &stream->upload;
    const struct sky_front *front = front_of(stream);

    return upload->waited_ms > front->body_timeout.timeout &&
           upload->received_bytes * 1000 < front->body_rate * upload->waited_ms;
}

/* ---- in ---- */

void sky_h2_upload_arrived(struct sky_h2_stream *stream, struct sky_text bytes)
{
    struct sky_h2_upload *upload = &stream->upload;

    end_waiting(stream);
    upload->received_bytes += bytes.len;
    if (upload->input == NULL)
        h2o_buffer_init(&upload->input, &h2o_socket_buffer_prototype);
    h2o_iovec_t room = h2o_buffer_reserve(&upload->input, bytes.len);
    if (room.base == NULL) {
        fail(stream, SKY_REFUSAL_body_unbuffered);
    } else if (upload->received_bytes > stream->body.limit_bytes) {
        fail(stream, SKY_REFUSAL_body_size);
    } else if (comes_too_slowly(stream)) {
        fail(stream, SKY_REFUSAL_body_rate);
    } else {
        memcpy(room.base, bytes.base, bytes.len);
        upload->input->size += bytes.len;
    }
    tell(stream);
}

void sky_h2_upload_ended(struct sky_h2_stream *stream)
{
    end_waiting(stream);
    stream->upload.ended = true;
    tell(stream);
}

void sky_h2_tell_readers(struct sky_h2 *h2)
{
    while (!h2o_linklist_is_empty(&h2->readable)) {
        struct sky_h2_stream *stream =
            H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, upload.readable, h2->readable.next);
        h2o_linklist_unlink(&stream->upload.readable);
        if (stream->upload.on_readable != NULL)
            stream->upload.on_readable(stream->upload.of);
    }
}

/* ---- out ---- */

enum sky_stream_result sky_h2_read(struct sky_h2_stream *stream, char *dst, size_t room,
                                   size_t *got)
{
    struct sky_h2_upload *upload = &stream->upload;
    size_t held = upload->input != NULL ? upload->input->size : 0;

    *got = 0;
    if (stream->refusal != SKY_REFUSAL_none)
        return SKY_STREAM_FAILED;
    if (held != 0) {
        *got = held < room ? held : room;
        memcpy(dst, upload->input->bytes, *got);
        h2o_buffer_consume(&upload->input, *got);
        nghttp2_session_consume_stream(stream->h2->session, stream->id, *got);
        sky_h2_run_soon(stream->h2);
    }
    if (*got != held)
        return SKY_STREAM_BYTES;
    if (upload->ended)
        return SKY_STREAM_END;
    begin_waiting(stream);
    return *got != 0 ? SKY_STREAM_BYTES : SKY_STREAM_WAIT;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From frames to a running request.
 *
 * Happy path: HEADERS -> fields into an h2o_req_t -> DATA into the body's buffer -> END_STREAM ->
 * the handler runs when the read is done.
 * Failures: a head or a body is refused: answered as in HTTP/1, and the rest of the body with
 * RST_STREAM. nghttp2 finds a message malformed: RST_STREAM, no handler sees it. The client resets:
 * the stream is freed, its generator stopped. Resets without an end, or a head far above its limit:
 * the connection ends. */
#include "proxy/front/http2.h"

#include <errno.h>

#include "proxy/access/access_request.h"
#include "reporter/log.h"

/* A head so many times its limit is no mistake of an honest client: RFC 7541 lets one byte stand
 * for a field of 4 KB, and decoding the rest of it would be the attack. */
#define HEAD_BOMB_FACTOR 2

void sky_h2_set_timer(struct sky_h2_stream *stream, h2o_timeout_t *list, h2o_timeout_cb on_timeout)
{
    h2o_timeout_unlink(&stream->timer);
    stream->timer.cb = on_timeout;
    h2o_timeout_link(stream->h2->conn->super.ctx->loop, list, &stream->timer);
}

struct sky_h2_stream *sky_h2_stream_of(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);

    if (conn == NULL || conn->h2 == NULL)
        return NULL;
    return H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, req, req);
}

void sky_h2_not_due(struct sky_h2_stream *stream)
{
    if (h2o_linklist_is_linked(&stream->due))
        h2o_linklist_unlink(&stream->due);
}

/* ---- begin and end ---- */

static struct sky_h2_stream *new_stream(struct sky_h2 *h2, int32_t id)
{
    struct sky_h2_stream *stream =
        h2o_mem_alloc_recycle(&h2->conn->front->h2->streams, sizeof *stream);

    memset(stream, 0, offsetof(struct sky_h2_stream, req));
    stream->h2 = h2;
    stream->id = id;
    h2o_init_request(&stream->req, &h2->conn->super, NULL);
    stream->req.version = 0x200;
    stream->req.timestamps.request_begin_at = h2->conn->read_at;
    sky_h2_start_output(stream);
    h2o_linklist_insert(&h2->streams, &stream->link);
    h2->stream_count++;
    return stream;
}

void sky_h2_stream_destroy(struct sky_h2_stream *stream)
{
    stream->h2->stream_count--;
    h2o_linklist_unlink(&stream->link);
    sky_h2_not_due(stream);
    h2o_timeout_unlink(&stream->timer);
    h2o_dispose_request(&stream->req);
    sky_body_buffer_fini(&stream->body);
    sky_h2_end_upload(stream);
    h2o_mem_free_recycle(&stream->h2->conn->front->h2->streams, stream);
}

static void make_ready(struct sky_h2_stream *stream)
{
    h2o_timeout_unlink(&stream->timer);
    stream->state = SKY_H2_READY;
    h2o_linklist_insert(&stream->h2->ready, &stream->due);
}

/* ---- refusals ---- */

void sky_h2_note_refusal(struct sky_h2_stream *stream)
{
    static struct sky_log_limit limit;
    struct sky_conn *conn = stream->h2->conn;
    const struct sky_refusal_row *row = sky_refusal_row(stream->refusal);
    char host[NI_MAXHOST];

    sky_conn_count(conn, row->counter);
    sky_log_limited(&limit, SKY_LOG_INFO, "HTTP/2 request of %s refused with %d (%s)",
                    sky_conn_peer(conn, host), row->status, row->name);
}

static void answer_refused_head(struct sky_h2_stream *stream)
{
    const struct sky_refusal_row *row = sky_refusal_row(stream->refusal);
    struct sky_front *front = stream->h2->conn->front;
    h2o_req_t *req = &stream->req;

    if (row->status == 405)
        sky_conn_allow_methods(req);
    h2o_send_error_generic(req, row->status, row->phrase, row->text, H2O_SEND_ERROR_KEEP_HEADERS);
    sky_access_refused(front->access_pen, front->counters, req, row->status, row->text);
}

static void refuse_body(struct sky_h2_stream *stream, enum sky_refusal refusal)
{
    stream->refusal = refusal;
    sky_h2_note_refusal(stream);
    sky_body_buffer_fini(&stream->body);
    make_ready(stream);
}

static void body_failed(struct sky_h2_stream *stream, enum sky_body_result result)
{
    refuse_body(stream, sky_conn_refusal_of_body(stream->h2->conn, result));
}

static void on_body_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_h2_stream *stream = H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, timer, entry);

    refuse_body(stream, SKY_REFUSAL_body_timeout);
    sky_h2_run(stream->h2);
}

/* Behind half of a head no other frame can come: the connection ends. */
static void on_head_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_h2_stream *stream = H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, timer, entry);
    struct sky_h2 *h2 = stream->h2;

    sky_h2_give_up(h2, NGHTTP2_NO_ERROR, SKY_COUNT_refused_head_timeout, "timeouts.header");
    sky_h2_run(h2);
}

void sky_h2_dispatch(struct sky_h2_stream *stream)
{
    stream->state = SKY_H2_RUNNING;
    if (stream->head_refused)
        answer_refused_head(stream);
    else
        h2o_process_request(&stream->req);
}

/* ---- bodies ---- */

static void begin_body(struct sky_h2_stream *stream)
{
    struct sky_front *front = stream->h2->conn->front;
    enum sky_body_result result = SKY_BODY_OK;
    bool streamed = false;

    stream->state = SKY_H2_BODY;
    stream->req.entity = h2o_iovec_init(H2O_STRLIT(""));
    stream->req.timestamps.request_body_begin_at = stream->h2->conn->read_at;
    stream->body_began_ms = h2o_now(front->ctx->loop);
    sky_body_buffer_init(&stream->body, &front->body);
    if (front->body_policy != NULL) {
        const struct sky_body_policy *policy = &stream->policy;
        stream->policy = front->body_policy(&stream->req);
        stream->policy_asked = true;
        stream->body.limit_bytes = policy->limit_bytes;
        streamed = policy->streamed && (stream->has_length || !policy->needs_length);
    }
    if (stream->policy.retry_after_s != 0) {
        make_ready(stream); /* what comes of it is dropped */
        return;
    }
    if (streamed && stream->has_length && stream->content_length > stream->body.limit_bytes)
        result = SKY_BODY_TOO_LARGE;
    else if (streamed)
        result = sky_h2_begin_upload(stream) ? SKY_BODY_OK : SKY_BODY_OVER_BUDGET;
    else if (stream->has_length)
        result = sky_body_buffer_expect(&stream->body, stream->content_length);
    if (result != SKY_BODY_OK) {
        body_failed(stream, result);
        return;
    }
    if (stream->expects_continue)
        sky_h2_inform(stream, 100, NULL, 0);
    if (streamed)
        make_ready(stream);
    else
        sky_h2_set_timer(stream, &front->body_timeout, on_body_timeout);
}

static void end_body(struct sky_h2_stream *stream)
{
    struct sky_text body;
    enum sky_body_result result = sky_body_buffer_finish(&stream->body, &body);

    if (result != SKY_BODY_OK) {
        body_failed(stream, result);
        return;
    }
    if (sky_body_buffer_in_file(&stream->body))
        sky_conn_count(stream->h2->conn, SKY_COUNT_body_files);
    stream->req.entity = h2o_iovec_init(body.base, body.len);
    make_ready(stream);
}

/* ---- frames ---- */

/* RFC 9113, 5.1.1: a new stream closes all with a smaller identifier. nghttp2 ignores HEADERS on
 * those, as it must on streams that it has forgotten; what was never opened tells them apart. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *arg)
{
    struct sky_h2 *h2 = arg;
    int32_t id = head->stream_id;

    (void)session;
    if (head->type != NGHTTP2_HEADERS)
        return 0;
    if (id > h2->newest_id) {
        if (id > h2->newest_id + 2) {
            h2->skipped_from = h2->newest_id + 2;
            h2->skipped_to = id - 2;
        }
        h2->newest_id = id;
        return 0;
    }
    if (id < h2->skipped_from || id > h2->skipped_to)
        return 0;
    sky_h2_give_up(h2, NGHTTP2_PROTOCOL_ERROR, SKY_COUNT_http2_closed_protocol,
                   "a stream that goes back behind others");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct sky_h2 *h2 = arg;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct sky_h2_stream *stream = new_stream(h2, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    sky_h2_set_timer(stream, &h2->conn->front->head_timeout, on_head_timeout);
    return 0;
}

/* Of trailers, too: they are counted and left out, since an app that takes them for fields of the
 * head would be deceived (RFC 9110, 6.5.1). */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct sky_h2 *h2 = arg;
    struct sky_h2_stream *stream =
        nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags;
    if (stream == NULL)
        return 0;
    if (stream->state == SKY_H2_HEAD)
        sky_h2_take_field(stream, sky_text((const char *)name, name_len),
                          sky_text((const char *)value, value_len));
    else
        stream->head_bytes += name_len + value_len;
    if (stream->head_bytes / HEAD_BOMB_FACTOR <= h2->conn->front->limits.head_bytes)
        return 0;
    sky_h2_give_up(h2, NGHTTP2_ENHANCE_YOUR_CALM, SKY_COUNT_http2_closed_head_size,
                   "a head of many times limits.header");
    return NGHTTP2_ERR_CALLBACK_FAILURE; /* not one field more is decoded */
}

/* nghttp2 would leave the field out; RFC 9113, 8.2.1 has the request malformed. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_len, const uint8_t *value,
                             size_t value_len, uint8_t flags, void *arg)
{
    (void)session, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len;
    (void)flags, (void)arg;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void take_head(struct sky_h2_stream *stream, bool bodiless)
{
    struct sky_conn *conn = stream->h2->conn;

    h2o_timeout_unlink(&stream->timer);
    sky_h2_check_head(stream);
    if (stream->refusal != SKY_REFUSAL_none) {
        stream->head_refused = true;
        sky_h2_note_refusal(stream);
        make_ready(stream);
        return;
    }
    sky_conn_count(conn, SKY_COUNT_requests_http2);
    if (!bodiless) {
        begin_body(stream);
        return;
    }
    if (stream->has_length)
        stream->req.entity = h2o_iovec_init(H2O_STRLIT(""));
    make_ready(stream);
}

static void buffer_data(struct sky_h2_stream *stream, struct sky_text bytes)
{
    struct sky_front *front = stream->h2->conn->front;

    if (sky_conn_too_slow(front, &stream->body, bytes.len, stream->body_began_ms)) {
        refuse_body(stream, SKY_REFUSAL_body_rate);
        return;
    }
    enum sky_body_result result = sky_body_buffer_append(&stream->body, bytes);
    if (result != SKY_BODY_OK)
        body_failed(stream, result);
    else
        sky_h2_set_timer(stream, &front->body_timeout, on_body_timeout);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                   size_t len, void *arg)
{
    struct sky_h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);
    struct sky_text piece = sky_text((const char *)bytes, len);

    (void)flags, (void)arg;
    nghttp2_session_consume_connection(session, len);
    if (stream != NULL && stream->upload.open && stream->refusal == SKY_REFUSAL_none &&
        stream->state != SKY_H2_WHOLE) {
        sky_h2_upload_arrived(stream, piece);
        return 0;
    }
    nghttp2_session_consume_stream(session, id, len);
    if (stream != NULL && stream->state == SKY_H2_BODY) /* else it was refused */
        buffer_data(stream, piece);
    return 0;
}

static void end_request(struct sky_h2_stream *stream)
{
    if (stream->upload.open)
        sky_h2_upload_ended(stream);
    else if (stream->state == SKY_H2_BODY)
        end_body(stream);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct sky_h2_stream *stream;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (frame->hd.stream_id == 0 ||
        (stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id)) == NULL)
        return 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            take_head(stream, end);
        else if (end)
            end_request(stream);
        break;
    case NGHTTP2_DATA:
        if (end)
            end_request(stream);
        break;
    case NGHTTP2_RST_STREAM:
        if (stream->state == SKY_H2_WHOLE)
            break;
        stream->client_reset = true;
        sky_conn_count(stream->h2->conn, SKY_COUNT_http2_resets_client);
        sky_h2_note_reset(arg);
        break;
    default:
        break;
    }
    return 0;
}

/* Both sides have ended it, or one has reset it. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct sky_h2_stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)error, (void)arg;
    if (stream == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (stream->state == SKY_H2_WHOLE)
        return 0; /* its last bytes are still on their way */
    if (stream->client_reset && stream->state != SKY_H2_HEAD)
        sky_conn_count(stream->h2->conn, SKY_COUNT_client_gone);
    sky_h2_stream_destroy(stream);
    return 0;
}

void sky_h2_set_input_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

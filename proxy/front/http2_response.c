/* SPDX-License-Identifier: Apache-2.0 */
/* From h2o_send to frames: the end of the output of an HTTP/2 request.
 *
 * Happy path: on_send keeps the pieces -> HEADERS, then as much DATA as windows and the output's
 * bound allow, straight from the pieces -> all bytes out -> the generator goes on, or the stream
 * ends.
 * Failures: the generator gives up, or its body is not as long as it said: RST_STREAM, so that the
 * client sees that something is missing. The client opens no window: reset after timeouts.write. */
#include "proxy/front/http2.h"

#define FRAME_HEAD_BYTES 9

/* ---- the client takes nothing ---- */

static bool waits_for_window(const struct sky_h2_stream *stream)
{
    nghttp2_session *session = stream->h2->session;

    return nghttp2_session_get_remote_window_size(session) <= 0 ||
           nghttp2_session_get_stream_remote_window_size(session, stream->id) <= 0;
}

/* The socket has a timer of its own, and what waits for neither it nor a window waits for its turn.
 */
static void on_write_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_h2_stream *stream = H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, timer, entry);
    struct sky_h2 *h2 = stream->h2;
    struct sky_front *front = h2->conn->front;
    uint64_t progress = stream->framed_bytes - stream->framed_before;

    if (h2o_socket_is_writing(h2->conn->sock) || !waits_for_window(stream) ||
        (progress != 0 && progress * 1000 >= front->answer_rate * front->write_timeout.timeout)) {
        stream->framed_before = stream->framed_bytes;
        sky_h2_set_timer(stream, &front->write_timeout, on_write_timeout);
        return;
    }
    sky_conn_count(h2->conn,
                   progress != 0 ? SKY_COUNT_cut_answer_rate : SKY_COUNT_cut_write_timeout);
    stream->cut = true;
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
    sky_h2_run(h2);
}

static void watch(struct sky_h2_stream *stream)
{
    if (stream->piece_bytes == 0)
        h2o_timeout_unlink(&stream->timer);
    else if (!h2o_timeout_is_linked(&stream->timer))
        sky_h2_set_timer(stream, &stream->h2->conn->front->write_timeout, on_write_timeout);
}

/* ---- DATA ---- */

static void ask_for_more(struct sky_h2_stream *stream)
{
    if (!h2o_linklist_is_linked(&stream->due))
        h2o_linklist_insert(&stream->h2->drained, &stream->due);
}

static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct sky_h2_stream *stream = source->ptr;

    (void)session, (void)id, (void)bytes, (void)arg;
    if (stream->piece_bytes == 0 && stream->cut)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* becomes RST_STREAM */
    if (stream->piece_bytes == 0 && !stream->final)
        return NGHTTP2_ERR_DEFERRED;
    size_t len = stream->piece_bytes < size ? stream->piece_bytes : size;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (len == stream->piece_bytes && stream->final)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)len;
}

/* With its head a frame fills one TLS record. */
static ssize_t choose_frame_size(nghttp2_session *session, uint8_t type, int32_t id,
                                 int32_t session_window, int32_t stream_window,
                                 uint32_t max_frame_size, void *arg)
{
    (void)session, (void)type, (void)id, (void)session_window, (void)stream_window;
    (void)max_frame_size, (void)arg;
    return SKY_H2_OUT_BYTES / 2 - FRAME_HEAD_BYTES;
}

static void take_pieces(struct sky_h2_stream *stream, char *dst, size_t len)
{
    stream->piece_bytes -= len;
    stream->framed_bytes += len;
    while (len != 0) {
        h2o_iovec_t *piece = &stream->pieces.entries[stream->piece_first];
        size_t part = piece->len < len ? piece->len : len;
        memcpy(dst, piece->base, part);
        dst += part;
        len -= part;
        piece->base += part;
        piece->len -= part;
        if (piece->len == 0)
            stream->piece_first++;
    }
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t len, nghttp2_data_source *source, void *arg)
{
    struct sky_h2 *h2 = arg;
    struct sky_h2_stream *stream = source->ptr;

    (void)session, (void)frame;
    char *dst = sky_h2_put(h2, FRAME_HEAD_BYTES + len);
    if (dst == NULL)
        return NGHTTP2_ERR_WOULDBLOCK;
    memcpy(dst, head, FRAME_HEAD_BYTES);
    take_pieces(stream, dst + FRAME_HEAD_BYTES, len);
    watch(stream);
    if (stream->piece_bytes == 0 && !stream->final && !stream->cut)
        ask_for_more(stream);
    return 0;
}

/* ---- the head ---- */

static nghttp2_nv pair(const char *name, size_t name_len, const char *value, size_t value_len)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = name_len,
        .valuelen = value_len,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
    };
}

#define PAIR(name, value, value_len) pair(name, sizeof(name) - 1, value, value_len)

/* Digits before `end`. */
static char *put_number(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
    } while ((number /= 10) != 0);
    return end;
}

/* RFC 9113, 8.2.2; and what this writes itself. */
static bool is_left_out(const struct sky_h2_stream *stream, const h2o_header_t *field)
{
    const h2o_iovec_t *name = field->name;

    return name == &H2O_TOKEN_CONNECTION->buf || name == &H2O_TOKEN_KEEP_ALIVE->buf ||
           name == &H2O_TOKEN_TRANSFER_ENCODING->buf || name == &H2O_TOKEN_UPGRADE->buf ||
           name == &H2O_TOKEN_DATE->buf || name == &H2O_TOKEN_CONTENT_LENGTH->buf ||
           (name == &H2O_TOKEN_STRICT_TRANSPORT_SECURITY->buf &&
            sky_conn_hsts(stream->h2->conn) != NULL) ||
           h2o_memis(name->base, name->len, H2O_STRLIT("proxy-connection"));
}

static void choose_length(struct sky_h2_stream *stream, size_t body_bytes, bool final)
{
    h2o_req_t *req = &stream->req;
    int status = req->res.status;
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

    stream->bodiless = head || status == 204 || status == 304;
    if (status == 204)
        req->res.content_length = SIZE_MAX; /* RFC 9110, 8.6 */
    else if (req->res.content_length == SIZE_MAX && final &&
             (!stream->bodiless || (head && body_bytes != 0)))
        req->res.content_length = body_bytes;
    stream->has_left = req->res.content_length != SIZE_MAX && !stream->bodiless;
    stream->left = req->res.content_length;
}

static void send_head(struct sky_h2_stream *stream)
{
    h2o_req_t *req = &stream->req;
    struct sky_conn *conn = stream->h2->conn;
    const char *hsts = sky_conn_hsts(conn);
    nghttp2_data_provider body = {.source = {.ptr = stream}, .read_callback = read_data};
    nghttp2_nv *fields =
        h2o_mem_alloc_pool(&req->pool, (req->res.headers.size + 4) * sizeof *fields);
    char *digits = h2o_mem_alloc_pool(&req->pool, 24), *status, *length;
    h2o_timestamp_t now;
    size_t count = 0;

    status = put_number(digits + 3, (uint64_t)req->res.status);
    fields[count++] = PAIR(":status", status, 3);
    h2o_get_timestamp(conn->super.ctx, &req->pool, &now);
    fields[count++] = PAIR("date", now.str->rfc1123, H2O_TIMESTR_RFC1123_LEN);
    if (hsts != NULL) { /* a reload may free it before the frame is made */
        h2o_iovec_t kept = h2o_strdup(&req->pool, hsts, SIZE_MAX);
        fields[count++] = PAIR("strict-transport-security", kept.base, kept.len);
    }
    for (size_t i = 0; i < req->res.headers.size; i++) {
        const h2o_header_t *field = &req->res.headers.entries[i];
        if (!is_left_out(stream, field))
            fields[count++] =
                pair(field->name->base, field->name->len, field->value.base, field->value.len);
    }
    if (req->res.content_length != SIZE_MAX) {
        length = put_number(digits + 24, req->res.content_length);
        fields[count++] = PAIR("content-length", length, (size_t)(digits + 24 - length));
    }
    if (nghttp2_submit_response(stream->h2->session, stream->id, fields, count,
                                stream->bodiless ? NULL : &body) != 0)
        h2o_fatal("no memory"); /* as all of libh2o does without it */
    req->timestamps.response_start_at = now.at;
    stream->head_made = true;
    sky_conn_count_response(conn, req->res.status);
}

void sky_h2_inform(struct sky_h2_stream *stream, int status, const h2o_header_t *fields,
                   size_t field_count)
{
    char digits[3];
    nghttp2_nv *pairs;
    size_t count = 0;

    if (stream->head_made)
        return;
    pairs = h2o_mem_alloc_pool(&stream->req.pool, (field_count + 1) * sizeof *pairs);
    pairs[count++] = PAIR(":status", put_number(digits + 3, (uint64_t)status), 3);
    for (size_t i = 0; i < field_count; i++)
        if (!is_left_out(stream, &fields[i]))
            pairs[count++] = pair(fields[i].name->base, fields[i].name->len, fields[i].value.base,
                                  fields[i].value.len);
    for (size_t i = 0; i < count; i++)
        pairs[i].flags = NGHTTP2_NV_FLAG_NONE;
    nghttp2_submit_headers(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, NULL, pairs, count,
                           NULL);
    sky_h2_run_soon(stream->h2);
}

/* ---- from h2o ---- */

/* A body of another length than was said is never passed off as whole. */
static bool fits_length(struct sky_h2_stream *stream, size_t bytes, bool final)
{
    if (!stream->has_left)
        return true;
    if (bytes > stream->left)
        return false;
    stream->left -= bytes;
    return !final || stream->left == 0;
}

static void keep_pieces(struct sky_h2_stream *stream, const h2o_iovec_t *bufs, size_t count)
{
    stream->pieces.size = stream->piece_first = 0;
    h2o_vector_reserve(&stream->req.pool, &stream->pieces, count);
    for (size_t i = 0; i < count; i++) {
        if (bufs[i].len == 0)
            continue;
        stream->pieces.entries[stream->pieces.size++] = bufs[i];
        stream->piece_bytes += bufs[i].len;
    }
    if (!stream->req.bytes_counted_by_ostream)
        stream->req.bytes_sent += stream->piece_bytes;
    watch(stream);
}

static void cut(struct sky_h2_stream *stream, enum sky_counter counter)
{
    sky_conn_count(stream->h2->conn, counter);
    stream->cut = true;
    if (!stream->head_made || stream->bodiless)
        nghttp2_submit_rst_stream(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id,
                                  NGHTTP2_INTERNAL_ERROR);
}

static void on_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                    h2o_send_state_t state)
{
    struct sky_h2_stream *stream = H2O_STRUCT_FROM_MEMBER(struct sky_h2_stream, ostream, self);
    size_t bytes = 0;

    (void)req;
    for (size_t i = 0; i < count; i++)
        bytes += bufs[i].len;
    if (!stream->head_made && state != H2O_SEND_STATE_ERROR) {
        choose_length(stream, bytes, state == H2O_SEND_STATE_FINAL);
        send_head(stream);
    }
    bool fits = fits_length(stream, bytes, state == H2O_SEND_STATE_FINAL);
    if (!stream->bodiless && fits)
        keep_pieces(stream, bufs, count);
    if (state == H2O_SEND_STATE_ERROR)
        cut(stream, SKY_COUNT_cut_generator);
    else if (!fits)
        cut(stream, SKY_COUNT_cut_length);
    else if (state == H2O_SEND_STATE_FINAL)
        stream->final = true;
    else if (stream->piece_bytes == 0)
        ask_for_more(stream);
    if (!stream->bodiless && stream->head_made)
        nghttp2_session_resume_data(stream->h2->session, stream->id);
    sky_h2_run_soon(stream->h2);
}

void sky_h2_start_output(struct sky_h2_stream *stream)
{
    stream->ostream = (h2o_ostream_t){.do_send = on_send};
    stream->req._ostr_top = &stream->ostream;
}

/* ---- sent ---- */

/* The answer is framed to its end. */
static void end_stream(struct sky_h2_stream *stream)
{
    struct sky_h2 *h2 = stream->h2;

    stream->state = SKY_H2_WHOLE;
    h2o_timeout_unlink(&stream->timer);
    h2o_timeout_unlink(&stream->upload.timer);
    sky_h2_not_due(stream);
    h2o_linklist_insert(&h2->ended, &stream->due);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct sky_h2_stream *stream;
    struct sky_h2 *h2 = arg;

    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        sky_h2_ended(h2);
    if (frame->hd.stream_id == 0)
        return 0;
    stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        if (stream != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
            end_stream(stream);
        break;
    case NGHTTP2_RST_STREAM: /* by the client's doing, unless it is by ours */
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR && (stream == NULL || !stream->cut)) {
            sky_conn_count(h2->conn, SKY_COUNT_http2_resets_ours);
            sky_h2_note_reset(h2);
        }
        break;
    default:
        break;
    }
    return 0;
}

void sky_h2_set_output_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, choose_frame_size);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}

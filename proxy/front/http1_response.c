/* SPDX-License-Identifier: Apache-2.0 */
/* From h2o_send to framed bytes: the end of every request's chain of output streams.
 *
 * Happy path: on_send frames the pieces -> http1_output.c sends them. A part of a file takes the
 * same way past all other output streams (answer_file.h).
 * Failures: the generator gives up, or its body is not as long as it said: the connection is closed
 * where the client sees that something is missing.
 *
 * Framing is done here, for every status alike; libh2o's filter does it for 200 only, and for
 * others gives the connection up (sky_front_prepare takes that filter out). */
#include <assert.h>

#include "proxy/front/answer_file.h"
#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"

/* Up to this many bytes of body go into the head's buffer: copying them is cheaper than sendmsg. */
#define MERGE_BYTES 2048

/* ---- the head ---- */

static void choose_framing(struct sky_conn *conn, uint64_t body_bytes, bool final)
{
    h2o_req_t *req = &conn->req;
    int status = req->res.status;
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

    /* RFC 9112, 6.3, 1 */
    conn->response.bodiless = head || status < 200 || status == 204 || status == 304;
    if (status < 200 || status == 204)
        req->res.content_length = SIZE_MAX; /* RFC 9110, 8.6: must not be sent */
    else if (req->res.content_length == SIZE_MAX && final &&
             (!conn->response.bodiless || (head && body_bytes != 0)))
        req->res.content_length = (size_t)body_bytes;
    if (req->res.content_length != SIZE_MAX) {
        conn->response.has_length = true;
        conn->response.left = req->res.content_length;
    } else if (!conn->response.bodiless) {
        conn->response.chunked = req->version >= 0x101;
        conn->response.to_the_end = !conn->response.chunked;
    }
    if (!req->http1_is_persistent || conn->stream.unread || conn->response.to_the_end ||
        conn->front->draining || conn->super.ctx->shutdown_requested || sky_conn_is_last(conn))
        conn->must_close = true;
}

static bool is_ours(const h2o_header_t *field)
{
    return field->name == &H2O_TOKEN_CONNECTION->buf || field->name == &H2O_TOKEN_DATE->buf ||
           field->name == &H2O_TOKEN_CONTENT_LENGTH->buf ||
           field->name == &H2O_TOKEN_TRANSFER_ENCODING->buf;
}

const char *sky_conn_hsts(const struct sky_conn *conn)
{
    return conn->ssl != NULL && conn->door != NULL ? conn->door->config->tls.hsts : NULL;
}

static size_t head_bound(const struct sky_conn *conn)
{
    const h2o_req_t *req = &conn->req;
    const char *hsts = sky_conn_hsts(conn);
    size_t bound = sizeof("HTTP/1.1 200 \r\nDate: \r\nConnection: keep-alive\r\n"
                          "Content-Length: 18446744073709551615\r\n\r\n") +
                   H2O_TIMESTR_RFC1123_LEN + strlen(req->res.reason);

    if (hsts != NULL)
        bound += sizeof("Strict-Transport-Security: \r\n") + strlen(hsts);
    for (size_t i = 0; i < req->res.headers.size; i++)
        bound += req->res.headers.entries[i].name->len + req->res.headers.entries[i].value.len + 4;
    return bound;
}

static char *put(char *dst, const char *bytes, size_t len)
{
    memcpy(dst, bytes, len);
    return dst + len;
}

#define PUT(dst, literal) put(dst, literal, sizeof(literal) - 1)

static char *put_number(char *dst, uint64_t number, unsigned base)
{
    char digits[20];
    size_t i = sizeof digits;

    do {
        digits[--i] = "0123456789abcdef"[number % base];
    } while ((number /= base) != 0);
    return put(dst, digits + i, sizeof digits - i);
}

static char *put_status_line(char *dst, const h2o_res_t *res)
{
    assert(res->status >= 100 && res->status <= 999);
    dst = PUT(dst, "HTTP/1.1 ");
    dst = put_number(dst, (uint64_t)res->status, 10);
    *dst++ = ' ';
    dst = put(dst, res->reason, strlen(res->reason));
    return PUT(dst, "\r\n");
}

static char *put_field(char *dst, const h2o_header_t *field)
{
    const char *name = field->orig_name != NULL ? field->orig_name : field->name->base;

    dst = put(dst, name, field->name->len);
    dst = PUT(dst, ": ");
    dst = put(dst, field->value.base, field->value.len);
    return PUT(dst, "\r\n");
}

static char *put_head(char *dst, struct sky_conn *conn)
{
    h2o_req_t *req = &conn->req;

    const char *hsts = sky_conn_hsts(conn);

    h2o_get_timestamp(conn->super.ctx, NULL, NULL); /* brings the cached text up to date */
    dst = put_status_line(dst, &req->res);
    dst = PUT(dst, "Date: ");
    dst = put(dst, conn->super.ctx->_timestamp_cache.value->rfc1123, H2O_TIMESTR_RFC1123_LEN);
    dst = PUT(dst, "\r\n");
    if (hsts != NULL) {
        dst = PUT(dst, "Strict-Transport-Security: ");
        dst = put(dst, hsts, strlen(hsts));
        dst = PUT(dst, "\r\n");
    }
    for (size_t i = 0; i < req->res.headers.size; i++)
        if (!is_ours(&req->res.headers.entries[i]) &&
            (hsts == NULL ||
             req->res.headers.entries[i].name != &H2O_TOKEN_STRICT_TRANSPORT_SECURITY->buf))
            dst = put_field(dst, &req->res.headers.entries[i]);
    if (conn->response.has_length) {
        dst = PUT(dst, "Content-Length: ");
        dst = put_number(dst, req->res.content_length, 10);
        dst = PUT(dst, "\r\n");
    } else if (conn->response.chunked) {
        dst = PUT(dst, "Transfer-Encoding: chunked\r\n");
    }
    if (conn->must_close)
        dst = PUT(dst, "Connection: close\r\n");
    else if (req->version < 0x101)
        dst = PUT(dst, "Connection: keep-alive\r\n");
    return PUT(dst, "\r\n");
}

void sky_conn_count_response(struct sky_conn *conn, int status)
{
    static const enum sky_counter counters[] = {SKY_COUNT_responses_2xx, SKY_COUNT_responses_3xx,
                                                SKY_COUNT_responses_4xx, SKY_COUNT_responses_5xx};
    int class = status / 100;

    if (class >= 2 && class <= 5)
        sky_conn_count(conn, counters[class - 2]);
}

/* ---- the body ---- */

/* One piece of an answer. */
struct piece {
    h2o_iovec_t *bufs;
    size_t count;
    struct sky_answer_file *file; /* in place of bufs, unless NULL */
    uint64_t bytes;
    bool final;
};

static h2o_iovec_t chunk_begin(struct sky_conn *conn, const struct piece *piece)
{
    char *end = put_number(conn->response.chunk_line, piece->bytes, 16);

    end = PUT(end, "\r\n");
    return h2o_iovec_init(conn->response.chunk_line, (size_t)(end - conn->response.chunk_line));
}

static h2o_iovec_t chunk_end(const struct piece *piece)
{
    if (piece->bytes == 0)
        return h2o_iovec_init(H2O_STRLIT("0\r\n\r\n"));
    return piece->final ? h2o_iovec_init(H2O_STRLIT("\r\n0\r\n\r\n"))
                        : h2o_iovec_init(H2O_STRLIT("\r\n"));
}

static void push_body(struct sky_conn *conn, const struct piece *piece)
{
    bool chunked = conn->response.chunked;

    conn->response.file = piece->file;
    if (chunked && piece->bytes != 0)
        sky_conn_push(conn, chunk_begin(conn, piece));
    for (size_t i = 0; i < piece->count; i++)
        if (piece->bufs[i].len != 0)
            sky_conn_push(conn, piece->bufs[i]);
    if (chunked && (piece->bytes != 0 || piece->final))
        sky_conn_push(conn, chunk_end(piece));
}

static char *put_body(char *dst, struct sky_conn *conn, const struct piece *piece)
{
    bool chunked = conn->response.chunked;

    if (chunked && piece->bytes != 0) {
        h2o_iovec_t begin = chunk_begin(conn, piece);
        dst = put(dst, begin.base, begin.len);
    }
    for (size_t i = 0; i < piece->count; i++)
        if (piece->bufs[i].len != 0)
            dst = put(dst, piece->bufs[i].base, piece->bufs[i].len);
    if (chunked && (piece->bytes != 0 || piece->final)) {
        h2o_iovec_t end = chunk_end(piece);
        dst = put(dst, end.base, end.len);
    }
    return dst;
}

static void push_head_and_body(struct sky_conn *conn, const struct piece *piece)
{
    bool merge = piece->file == NULL && piece->bytes <= MERGE_BYTES;
    size_t bound = head_bound(conn) + (merge ? (size_t)piece->bytes + 32 : 0);
    char *head = h2o_mem_alloc_pool(&conn->req.pool, bound), *end = put_head(head, conn);

    if (merge)
        end = put_body(end, conn, piece);
    assert((size_t)(end - head) <= bound);
    sky_conn_push(conn, h2o_iovec_init(head, (size_t)(end - head)));
    if (!merge)
        push_body(conn, piece);
    conn->response.head_made = true;
    sky_conn_count_response(conn, conn->req.res.status);
    conn->req.timestamps.response_start_at = *h2o_get_timestamp(conn->super.ctx, NULL, NULL);
}

/* A body of another length than was said is never passed off as whole: what is too much is not
 * sent, and the connection ends. */
static bool fits_length(struct sky_conn *conn, struct piece *piece)
{
    if (!conn->response.has_length || conn->response.bodiless)
        return true;
    if (piece->bytes > conn->response.left) {
        *piece = (struct piece){.bytes = 0};
        return false;
    }
    return !piece->final || piece->bytes == conn->response.left;
}

void sky_conn_count_body(struct sky_conn *conn, uint64_t bytes)
{
    if (conn->response.has_length)
        conn->response.left -= bytes;
    if (!conn->req.bytes_counted_by_ostream)
        conn->req.bytes_sent += bytes;
}

static void send_piece(struct sky_conn *conn, struct piece *piece, h2o_send_state_t state)
{
    enum sky_conn_then then = piece->final ? SKY_THEN_FINISH : SKY_THEN_PROCEED;

    if (!conn->response.head_made && state != H2O_SEND_STATE_ERROR)
        choose_framing(conn, piece->bytes, piece->final);
    if (conn->response.bodiless)
        *piece = (struct piece){.final = piece->final};
    if (state == H2O_SEND_STATE_ERROR) {
        sky_conn_count(conn, SKY_COUNT_cut_generator);
        then = SKY_THEN_CUT;
    } else if (!fits_length(conn, piece)) {
        sky_conn_count(conn, SKY_COUNT_cut_length);
        then = SKY_THEN_CUT;
    }
    if (piece->file == NULL) /* else when it is sent */
        sky_conn_count_body(conn, piece->bytes);
    if (conn->response.head_made)
        push_body(conn, piece);
    else if (state != H2O_SEND_STATE_ERROR)
        push_head_and_body(conn, piece);
    conn->response.then = then;
    sky_conn_flush(conn);
}

static void on_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                    h2o_send_state_t state)
{
    struct sky_conn *conn = H2O_STRUCT_FROM_MEMBER(struct sky_conn, ostream, self);
    struct piece piece = {.bufs = bufs, .count = count, .final = state == H2O_SEND_STATE_FINAL};

    (void)req;
    for (size_t i = 0; i < count; i++)
        piece.bytes += bufs[i].len;
    send_piece(conn, &piece, state);
}

bool sky_front_send_file(h2o_req_t *req, struct sky_answer_file *file)
{
    struct sky_conn *conn = sky_conn_of(req);
    struct piece piece = {.file = file, .bytes = file->left};

    if (conn == NULL || conn->io->send_file == NULL || req->_ostr_top != &conn->ostream)
        return false;
    assert(req->res.content_length != SIZE_MAX);
    send_piece(conn, &piece, H2O_SEND_STATE_IN_PROGRESS);
    return true;
}

void sky_conn_start_output(struct sky_conn *conn)
{
    conn->ostream = (h2o_ostream_t){.do_send = on_send};
    conn->req._ostr_top = &conn->ostream;
}

/* ---- interim answers ---- */

static const char *interim_phrase(int status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 102:
        return "Processing";
    case 103:
        return "Early Hints";
    default:
        return "Interim";
    }
}

h2o_iovec_t sky_conn_switch_head(struct sky_conn *conn, struct sky_text protocol)
{
    h2o_req_t *req = &conn->req;
    char *head = h2o_mem_alloc_pool(&req->pool, head_bound(conn) + protocol.len +
                                                    sizeof("Connection: Upgrade\r\nUpgrade: \r\n"));
    char *end = put_status_line(head, &req->res);

    for (size_t i = 0; i < req->res.headers.size; i++)
        end = put_field(end, &req->res.headers.entries[i]);
    end = PUT(end, "Connection: Upgrade\r\nUpgrade: ");
    end = put(end, protocol.base, protocol.len);
    end = PUT(end, "\r\n\r\n");
    return h2o_iovec_init(head, (size_t)(end - head));
}

void sky_front_inform(h2o_req_t *req, int status, const h2o_header_t *fields, size_t field_count)
{
    struct sky_conn *conn = sky_conn_of(req);
    struct sky_h2_stream *stream = sky_h2_stream_of(req);
    h2o_res_t res = {.status = status, .reason = interim_phrase(status)};
    size_t bound = sizeof("HTTP/1.1 100 Early Hints\r\n\r\n");

    if (stream != NULL && status >= 100 && status <= 199 && status != 101)
        sky_h2_inform(stream, status, fields, field_count);
    if (conn == NULL || req->version < 0x101 || conn->state != SKY_CONN_RUNNING ||
        conn->response.head_made || status < 100 || status > 199 || status == 101)
        return;
    for (size_t i = 0; i < field_count; i++)
        bound += fields[i].name->len + fields[i].value.len + 4;
    char *head = h2o_mem_alloc_pool(&req->pool, bound), *end = put_status_line(head, &res);
    for (size_t i = 0; i < field_count; i++)
        end = put_field(end, &fields[i]);
    end = PUT(end, "\r\n");
    sky_conn_write(conn, h2o_iovec_init(head, (size_t)(end - head)));
}

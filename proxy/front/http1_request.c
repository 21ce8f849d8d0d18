/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to a running request: head, body, handlers.
 *
 * Happy path: head whole -> copied into the request's pool -> h2o_req_t filled -> body buffered ->
 * h2o_process_request.
 * Failures: a head is refused: answered here, no handler sees it. A body is refused (too large, no
 * progress, bad chunk, no room): its handler answers, so that it is traced as any other. Both end
 * the connection, since what follows cannot be trusted or is not wanted. */
#include <errno.h>

#include "proxy/access/access_request.h"
#include "proxy/front/http1_conn.h"
#include "proxy/front/http2.h"
#include "reporter/log.h"

/* Each step returns whether another may follow at once; if not, conn may be gone. */

static bool dispatch(struct sky_conn *conn)
{
    conn->state = SKY_CONN_RUNNING;
    h2o_timeout_unlink(&conn->timer);
    if (conn->half_closed)
        sky_conn_watch(conn);
    conn->dispatching = true;
    h2o_process_request(&conn->req);
    conn->dispatching = false;
    return conn->response.settle_due && sky_conn_settle(conn);
}

static h2o_iovec_t iovec_of(struct sky_text text)
{
    return h2o_iovec_init(text.base, text.len);
}

/* ---- refusals ---- */

static void log_refusal(struct sky_conn *conn, const struct sky_refusal_row *row)
{
    static struct sky_log_limit limit;
    char host[NI_MAXHOST];

    sky_log_limited(&limit, SKY_LOG_INFO, "request of %s refused with %d (%s)",
                    sky_conn_peer(conn, host), row->status, row->name);
}

/* Enough of a request for loggers, even when nothing of it could be read. */
static void fill_line(struct sky_conn *conn, const struct sky_head *head)
{
    h2o_req_t *req = &conn->req;

    req->input.scheme = conn->ssl != NULL ? &H2O_URL_SCHEME_HTTPS : &H2O_URL_SCHEME_HTTP;
    req->version = head != NULL && !head->http11 ? 0x100 : 0x101;
    /* Never NULL: libh2o would put the name of its default host in. */
    req->input.authority = head != NULL && head->authority.base != NULL
                               ? iovec_of(head->authority)
                               : h2o_iovec_init(H2O_STRLIT(""));
    if (head == NULL || head->method.len == 0) {
        req->input.method = h2o_iovec_init(H2O_STRLIT("-"));
        req->input.path = h2o_iovec_init(H2O_STRLIT("/"));
        return;
    }
    req->input.method = iovec_of(head->method);
    req->input.path = iovec_of(head->target);
    if (head->target_lacks_slash)
        req->input.path =
            h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("/")), iovec_of(head->target));
}

/* RFC 9110, 15.5.6 */
void sky_conn_allow_methods(h2o_req_t *req)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("allow"), 0, "Allow",
                          H2O_STRLIT("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"));
}

static bool refuse_head(struct sky_conn *conn, enum sky_refusal refusal,
                        const struct sky_head *head)
{
    const struct sky_refusal_row *row = sky_refusal_row(refusal);
    h2o_req_t *req = &conn->req;

    sky_conn_count(conn, row->counter);
    log_refusal(conn, row);
    conn->refusal = refusal;
    conn->must_close = true;
    conn->state = SKY_CONN_RUNNING;
    h2o_timeout_unlink(&conn->timer);
    fill_line(conn, head);
    if (row->status == 405)
        sky_conn_allow_methods(req);
    conn->dispatching = true;
    h2o_send_error_generic(req, row->status, row->phrase, row->text, H2O_SEND_ERROR_KEEP_HEADERS);
    conn->dispatching = false;
    sky_access_refused(conn->front->access_pen, conn->front->counters, req, row->status, row->text);
    return conn->response.settle_due && sky_conn_settle(conn);
}

static bool refuse_body(struct sky_conn *conn, enum sky_refusal refusal)
{
    const struct sky_refusal_row *row = sky_refusal_row(refusal);

    sky_conn_count(conn, row->counter);
    log_refusal(conn, row);
    conn->refusal = refusal;
    conn->must_close = true;
    sky_body_buffer_fini(&conn->body);
    return dispatch(conn);
}

void sky_conn_refuse_head(struct sky_conn *conn, enum sky_refusal refusal)
{
    refuse_head(conn, refusal, NULL);
}

void sky_conn_refuse_body(struct sky_conn *conn, enum sky_refusal refusal)
{
    refuse_body(conn, refusal);
}

enum sky_refusal sky_front_refusal(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);
    const struct sky_h2_stream *stream = sky_h2_stream_of(req);

    if (stream != NULL)
        return stream->refusal;
    return conn != NULL ? conn->refusal : SKY_REFUSAL_none;
}

/* ---- bodies ---- */

enum sky_refusal sky_conn_refusal_of_body(struct sky_conn *conn, enum sky_body_result result)
{
    static struct sky_log_limit limit;

    if (result == SKY_BODY_TOO_LARGE)
        return SKY_REFUSAL_body_size;
    if (result == SKY_BODY_OVER_BUDGET)
        return SKY_REFUSAL_body_budget;
    sky_log_limited(&limit, SKY_LOG_ERROR, "cannot buffer a request's body in %s: %s",
                    conn->front->body.directory, strerror(errno));
    return result == SKY_BODY_NO_SPACE ? SKY_REFUSAL_body_disk_full : SKY_REFUSAL_body_unbuffered;
}

const struct sky_body_policy *sky_front_body_policy(h2o_req_t *req)
{
    const struct sky_conn *conn = sky_conn_of(req);
    const struct sky_h2_stream *stream = sky_h2_stream_of(req);

    if (stream != NULL)
        return stream->policy_asked ? &stream->policy : NULL;
    return conn != NULL && conn->policy_asked ? &conn->policy : NULL;
}

/* What comes of it is dropped behind the answer. */
static bool leave_body(struct sky_conn *conn)
{
    conn->must_close = true;
    return dispatch(conn);
}

static bool body_failed(struct sky_conn *conn, enum sky_body_result result)
{
    return refuse_body(conn, sky_conn_refusal_of_body(conn, result));
}

static bool finish_body(struct sky_conn *conn)
{
    struct sky_text body;
    enum sky_body_result result = sky_body_buffer_finish(&conn->body, &body);

    if (result != SKY_BODY_OK)
        return body_failed(conn, result);
    if (sky_body_buffer_in_file(&conn->body))
        sky_conn_count(conn, SKY_COUNT_body_files);
    conn->req.entity = iovec_of(body);
    return dispatch(conn);
}

/* Who has shut its side sends no more of it. */
static bool await_body(struct sky_conn *conn)
{
    if (conn->half_closed) {
        sky_conn_count(conn, SKY_COUNT_client_gone);
        sky_conn_close(conn);
    }
    return false;
}

static bool read_sized_body(struct sky_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    struct sky_text piece = sky_text((*input)->bytes, (*input)->size);

    if (piece.len > conn->body_left)
        piece.len = (size_t)conn->body_left;
    enum sky_body_result result = sky_body_buffer_append(&conn->body, piece);
    if (result != SKY_BODY_OK)
        return body_failed(conn, result);
    conn->body_left -= piece.len;
    h2o_buffer_consume(input, piece.len);
    return conn->body_left == 0 ? finish_body(conn) : await_body(conn);
}

static bool read_chunked_body(struct sky_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    struct sky_text rest = sky_text((*input)->bytes, (*input)->size), piece;
    enum sky_chunked_result got;

    while ((got = sky_chunked_next(&conn->decoder, &rest, &piece)) == SKY_CHUNKED_DATA) {
        enum sky_body_result result = sky_body_buffer_append(&conn->body, piece);
        if (result != SKY_BODY_OK)
            return body_failed(conn, result);
    }
    h2o_buffer_consume(input, (*input)->size - rest.len);
    if (got == SKY_CHUNKED_ERROR)
        return refuse_body(conn, SKY_REFUSAL_chunk);
    if (sky_chunked_announced(&conn->decoder) > sky_body_buffer_room(&conn->body))
        return refuse_body(conn, SKY_REFUSAL_body_size);
    return got == SKY_CHUNKED_DONE ? finish_body(conn) : await_body(conn);
}

/* The timer is for who sends nothing; this is for who sends a little, to hold a place. */
bool sky_conn_too_slow(const struct sky_front *front, const struct sky_body_buffer *body,
                       size_t more_bytes, uint64_t began_ms)
{
    uint64_t passed_ms = h2o_now(front->ctx->loop) - began_ms;
    uint64_t received = body->file_bytes + body->memory_size + more_bytes;

    return passed_ms > front->body_timeout.timeout &&
           received * 1000 < front->body_rate * passed_ms;
}

static bool read_body(struct sky_conn *conn)
{
    if (conn->sock->input->size == 0)
        return await_body(conn);
    if (sky_conn_too_slow(conn->front, &conn->body, conn->sock->input->size, conn->body_began_ms))
        return refuse_body(conn, SKY_REFUSAL_body_rate);
    sky_conn_set_timer(conn, &conn->front->body_timeout, sky_conn_on_body_timeout);
    return conn->chunked ? read_chunked_body(conn) : read_sized_body(conn);
}

static bool begin_body(struct sky_conn *conn, const struct sky_head *head)
{
    enum sky_body_result result = SKY_BODY_OK;
    bool streamed = false;

    conn->state = SKY_CONN_BODY;
    conn->chunked = head->chunked;
    conn->body_left = head->content_length;
    conn->req.timestamps.request_body_begin_at = conn->read_at;
    conn->body_began_ms = h2o_now(conn->super.ctx->loop);
    sky_body_buffer_init(&conn->body, &conn->front->body);
    if (conn->front->body_policy != NULL) {
        const struct sky_body_policy *policy = &conn->policy;
        conn->policy = conn->front->body_policy(&conn->req);
        conn->policy_asked = true;
        conn->body.limit_bytes = policy->limit_bytes;
        streamed = policy->streamed && (head->has_length || !policy->needs_length) &&
                   !conn->half_closed; /* all of it is here, or never comes */
    }
    if (conn->policy.retry_after_s != 0)
        return leave_body(conn);
    if (streamed && head->has_length && head->content_length > conn->body.limit_bytes)
        result = SKY_BODY_TOO_LARGE;
    else if (streamed)
        result = sky_conn_begin_stream(conn) ? SKY_BODY_OK : SKY_BODY_OVER_BUDGET;
    else if (head->has_length)
        result = sky_body_buffer_expect(&conn->body, head->content_length);
    if (result != SKY_BODY_OK)
        return body_failed(conn, result);
    sky_conn_set_timer(conn, &conn->front->body_timeout, sky_conn_on_body_timeout);
    if (head->expects_continue && conn->sock->input->size == 0)
        sky_conn_write(conn, h2o_iovec_init(H2O_STRLIT("HTTP/1.1 100 Continue\r\n\r\n")));
    return !streamed || dispatch(conn);
}

/* ---- heads ---- */

static void add_field(h2o_req_t *req, const struct sky_head_field *field)
{
    char lower[64];
    const h2o_token_t *token = NULL;
    size_t len = field->name.len;

    if (len <= sizeof lower) {
        memcpy(lower, field->name.base, len);
        h2o_strtolower(lower, len);
        token = h2o_lookup_token(lower, len);
    }
    if (token != NULL) {
        h2o_add_header(&req->pool, &req->headers, token, NULL, field->value.base, field->value.len);
    } else {
        char *name = h2o_mem_alloc_pool(&req->pool, len);
        memcpy(name, field->name.base, len);
        h2o_strtolower(name, len);
        h2o_add_header_by_str(&req->pool, &req->headers, name, len, 0, NULL, field->value.base,
                              field->value.len);
    }
    /* not given to the functions above, which would copy it */
    req->headers.entries[req->headers.size - 1].orig_name = field->name.base;
}

static void fill_request(struct sky_conn *conn, const struct sky_head *head)
{
    h2o_req_t *req = &conn->req;

    fill_line(conn, head);
    req->http1_is_persistent = head->keep_alive;
    conn->client_closes = !head->keep_alive;
    conn->upgrade = head->upgrade;
    if (head->has_length || head->chunked)
        req->entity = h2o_iovec_init(H2O_STRLIT(""));
    h2o_vector_reserve(&req->pool, &req->headers, head->field_count);
    for (size_t i = 0; i < head->field_count; i++)
        add_field(req, &head->fields[i]);
}

/* Before the body is read: it is to be sent to the other place. */
static bool redirect(struct sky_conn *conn, bool has_body)
{
    h2o_req_t *req = &conn->req;
    h2o_iovec_t host = req->input.authority, port = h2o_iovec_init(NULL, 0);
    bool has_path = req->input.path.base[0] == '/'; /* OPTIONS * has none */
    char text[8];

    for (size_t i = host.len; i-- > 0 && host.base[i] != ']';)
        if (host.base[i] == ':')
            host.len = i;
    if (conn->door->config->redirect_port != 443)
        port = h2o_iovec_init(text, (size_t)snprintf(text, sizeof text, ":%u",
                                                     (unsigned)conn->door->config->redirect_port));
    h2o_iovec_t location =
        h2o_concat(&req->pool, h2o_iovec_init(H2O_STRLIT("https://")), host, port,
                   has_path ? req->input.path : h2o_iovec_init(H2O_STRLIT("/")));
    conn->must_close |= has_body;
    conn->state = SKY_CONN_RUNNING;
    h2o_timeout_unlink(&conn->timer);
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_LOCATION, NULL, location.base,
                   location.len);
    conn->dispatching = true;
    h2o_send_error_generic(req, 308, "Permanent Redirect", "See the field Location.\n",
                           H2O_SEND_ERROR_KEEP_HEADERS);
    conn->dispatching = false;
    return conn->response.settle_due && sky_conn_settle(conn);
}

static bool redirects(const struct sky_conn *conn)
{
    return conn->door != NULL && conn->door->config->redirect_port != 0;
}

static bool start_request(struct sky_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    size_t size = conn->scan.end - conn->scan.begin;
    struct sky_head head = {.fields = conn->front->fields};

    /* The input moves while reading goes on; what a request is made of may not. */
    char *bytes = h2o_mem_alloc_pool(&conn->req.pool, size);
    memcpy(bytes, (*input)->bytes + conn->scan.begin, size);
    h2o_buffer_consume(input, conn->scan.end);
    enum sky_refusal refusal = sky_head_parse(sky_text(bytes, size), &head);
    if (refusal == SKY_REFUSAL_none && redirects(conn) && head.authority.len == 0)
        refusal = SKY_REFUSAL_host_missing; /* there is no place to send it to */
    if (refusal != SKY_REFUSAL_none)
        return refuse_head(conn, refusal, &head);
    sky_conn_count(conn, SKY_COUNT_requests);
    if (head.dropped_count != 0)
        sky_count_add(conn->front->counters, SKY_COUNT_fields_underscore, head.dropped_count);
    fill_request(conn, &head);
    if (redirects(conn))
        return redirect(conn, head.chunked || head.content_length != 0);
    if (head.chunked || head.content_length != 0)
        return begin_body(conn, &head);
    return dispatch(conn);
}

/* RFC 9113, 3.4: whether what has come begins an HTTP/2 connection, or still may. */
static bool is_preface(struct sky_conn *conn)
{
    const h2o_buffer_t *input = conn->sock->input;
    size_t len = input->size < NGHTTP2_CLIENT_MAGIC_LEN ? input->size : NGHTTP2_CLIENT_MAGIC_LEN;

    return memcmp(input->bytes, NGHTTP2_CLIENT_MAGIC, len) == 0;
}

static bool await_head(struct sky_conn *conn)
{
    if (conn->half_closed) {
        sky_conn_close(conn);
        return false;
    }
    if (conn->state == SKY_CONN_IDLE && conn->sock->input->size > conn->scan.begin) {
        conn->state = SKY_CONN_HEAD;
        sky_conn_set_timer(conn, &conn->front->head_timeout, sky_conn_on_head_timeout);
    }
    return false;
}

static bool read_head(struct sky_conn *conn)
{
    if (conn->may_be_h2c && is_preface(conn)) {
        if (conn->sock->input->size < NGHTTP2_CLIENT_MAGIC_LEN)
            return await_head(conn);
        sky_h2_begin(conn);
        return false;
    }
    conn->may_be_h2c = false;

    h2o_buffer_t *input = conn->sock->input;
    enum sky_head_result result =
        sky_head_scan(&conn->scan, &conn->front->limits, sky_text(input->bytes, input->size));

    if (input->size > conn->scan.begin)
        conn->req.timestamps.request_begin_at = conn->read_at;
    switch (result) {
    case SKY_HEAD_WHOLE:
        return start_request(conn);
    case SKY_HEAD_REFUSED:
        return refuse_head(conn, conn->scan.refusal, NULL);
    case SKY_HEAD_MORE:
        break;
    }
    return await_head(conn);
}

void sky_conn_advance(struct sky_conn *conn)
{
    bool more = true;

    while (more) {
        switch (conn->state) {
        case SKY_CONN_IDLE:
        case SKY_CONN_HEAD:
            more = read_head(conn);
            break;
        case SKY_CONN_BODY:
            more = read_body(conn);
            break;
        case SKY_CONN_GREETING:
        case SKY_CONN_HANDSHAKE:
        case SKY_CONN_RUNNING:
        case SKY_CONN_TUNNEL:
        case SKY_CONN_HTTP2:
        case SKY_CONN_LINGER:
            more = false;
            break;
        }
    }
}

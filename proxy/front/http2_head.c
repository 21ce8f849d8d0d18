/* SPDX-License-Identifier: Apache-2.0 */
/* What the head of an HTTP/2 request says, with the limits and checks that HTTP/1 has, too: its
 * request goes to the app as HTTP/1.1, so nothing may stand in it that a request line, a Host or a
 * field there could not hold. nghttp2 has seen to RFC 9113, 8.2 and 8.3: order, names, fields that
 * belong to a connection, what must be there once. */
#include "proxy/front/http2.h"
#include "proxy/http/http1_chars.h"

/* What HTTP/1 has around a field and in its request line. */
#define FIELD_OVERHEAD_BYTES 4
#define REQUEST_LINE_OVERHEAD_BYTES 11

static h2o_iovec_t copy(struct sky_h2_stream *stream, struct sky_text text)
{
    return h2o_strdup(&stream->req.pool, text.base, text.len);
}

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

static bool all(struct sky_text text, enum sky_http1_class class)
{
    for (size_t i = 0; i < text.len; i++)
        if (!sky_http1_is(text.base[i], class))
            return false;
    return true;
}

static void take_pseudo(struct sky_h2_stream *stream, struct sky_text name, struct sky_text value)
{
    h2o_req_t *req = &stream->req;

    if (sky_text_equal(name, SKY_TEXT(":method")))
        req->input.method = copy(stream, value);
    else if (sky_text_equal(name, SKY_TEXT(":path")))
        req->input.path = copy(stream, value);
    else if (sky_text_equal(name, SKY_TEXT(":authority")))
        req->input.authority = copy(stream, value);
}

static void take_length(struct sky_h2_stream *stream, struct sky_text value)
{
    stream->has_length = true; /* nghttp2 lets digits through alone, and no sum above INT64_MAX */
    for (size_t i = 0; i < value.len; i++)
        stream->content_length = stream->content_length * 10 + (uint64_t)(value.base[i] - '0');
}

static void take_cookie(struct sky_h2_stream *stream, struct sky_text value)
{
    h2o_vector_reserve(&stream->req.pool, &stream->cookies, stream->cookies.size + 1);
    stream->cookies.entries[stream->cookies.size++] = copy(stream, value);
}

static void take_expect(struct sky_h2_stream *stream, struct sky_text value)
{
    if (sky_text_equal_nocase(value, SKY_TEXT("100-continue")))
        stream->expects_continue = true;
    else
        stream->refusal = SKY_REFUSAL_expectation;
}

static void add_field(struct sky_h2_stream *stream, const h2o_token_t *token, struct sky_text name,
                      struct sky_text value)
{
    h2o_req_t *req = &stream->req;
    h2o_iovec_t own = copy(stream, value);

    if (token != NULL) {
        h2o_add_header(&req->pool, &req->headers, token, NULL, own.base, own.len);
    } else {
        h2o_iovec_t own_name = copy(stream, name);
        h2o_add_header_by_str(&req->pool, &req->headers, own_name.base, own_name.len, 0, NULL,
                              own.base, own.len);
    }
}

static void take_named(struct sky_h2_stream *stream, struct sky_text name, struct sky_text value)
{
    const h2o_token_t *token = h2o_lookup_token(name.base, name.len);

    if (token == H2O_TOKEN_COOKIE) {
        take_cookie(stream, value); /* crumbs are one field */
        return;
    }
    if (++stream->field_count > stream->h2->conn->front->limits.field_count)
        stream->refusal = SKY_REFUSAL_field_count;
    else if (token == H2O_TOKEN_HOST)
        stream->host = view(copy(stream, value));
    else if (token == H2O_TOKEN_CONTENT_LENGTH)
        take_length(stream, value);
    else if (token == H2O_TOKEN_EXPECT)
        take_expect(stream, value);
    else
        add_field(stream, token, name, value);
}

void sky_h2_take_field(struct sky_h2_stream *stream, struct sky_text name, struct sky_text value)
{
    const struct sky_front *front = stream->h2->conn->front;

    stream->head_bytes += name.len + value.len + FIELD_OVERHEAD_BYTES;
    if (stream->refusal != SKY_REFUSAL_none)
        return;
    if (stream->head_bytes > front->limits.head_bytes)
        stream->refusal = SKY_REFUSAL_head_size;
    else if (name.base[0] == ':')
        take_pseudo(stream, name, value);
    else if (!all(name, SKY_HTTP1_TOKEN))
        stream->refusal = SKY_REFUSAL_field_name;
    else if (!sky_http1_is_value(value.base, value.len))
        stream->refusal = SKY_REFUSAL_control;
    else if (memchr(name.base, '_', name.len) != NULL) /* WSGI could not tell it from a dash */
        sky_conn_count(stream->h2->conn, SKY_COUNT_fields_underscore);
    else
        take_named(stream, name, value);
}

static enum sky_refusal check_target(const h2o_req_t *req, const struct sky_head_limits *limits)
{
    struct sky_text method = view(req->input.method), path = view(req->input.path);

    if (method.len == 0 || !all(method, SKY_HTTP1_TOKEN))
        return SKY_REFUSAL_method;
    if (sky_text_equal(method, SKY_TEXT("CONNECT")))
        return SKY_REFUSAL_connect;
    if (path.len == 0 || !all(path, SKY_HTTP1_TARGET) ||
        (path.base[0] != '/' &&
         !(sky_text_equal(path, SKY_TEXT("*")) && sky_text_equal(method, SKY_TEXT("OPTIONS")))))
        return SKY_REFUSAL_target;
    return method.len + path.len + REQUEST_LINE_OVERHEAD_BYTES > limits->request_line_bytes
               ? SKY_REFUSAL_request_line_size
               : SKY_REFUSAL_none;
}

/* RFC 9113, 8.3.1: the two must not say different things, and the app sees but one. */
static enum sky_refusal check_host(struct sky_h2_stream *stream)
{
    h2o_iovec_t *authority = &stream->req.input.authority;

    if (authority->len != 0 && stream->host.base != NULL &&
        !sky_text_equal_nocase(view(*authority), stream->host))
        return SKY_REFUSAL_host_differs;
    if (authority->len == 0)
        *authority = h2o_iovec_init(stream->host.base, stream->host.len);
    if (authority->len == 0)
        return SKY_REFUSAL_host_missing;
    return sky_head_is_host(view(*authority)) ? SKY_REFUSAL_none : SKY_REFUSAL_host;
}

static void join_cookies(struct sky_h2_stream *stream)
{
    h2o_iovec_t joined = stream->cookies.entries[0];
    size_t len = 0;

    if (stream->cookies.size > 1) {
        for (size_t i = 0; i < stream->cookies.size; i++)
            len += stream->cookies.entries[i].len + 2;
        joined.base = h2o_mem_alloc_pool(&stream->req.pool, len);
        joined.len = 0;
        for (size_t i = 0; i < stream->cookies.size; i++) {
            if (i != 0) {
                memcpy(joined.base + joined.len, "; ", 2);
                joined.len += 2;
            }
            memcpy(joined.base + joined.len, stream->cookies.entries[i].base,
                   stream->cookies.entries[i].len);
            joined.len += stream->cookies.entries[i].len;
        }
    }
    h2o_add_header(&stream->req.pool, &stream->req.headers, H2O_TOKEN_COOKIE, NULL, joined.base,
                   joined.len);
}

/* Loggers see a request whatever it was, and libh2o puts its own host's name in for a NULL. */
static void fill_gaps(h2o_req_t *req, bool sound)
{
    if (!sound || req->input.method.len == 0 || req->input.path.len == 0) {
        req->input.method = h2o_iovec_init(H2O_STRLIT("-"));
        req->input.path = h2o_iovec_init(H2O_STRLIT("/"));
    }
    if (req->input.authority.base == NULL)
        req->input.authority = h2o_iovec_init(H2O_STRLIT(""));
}

void sky_h2_check_head(struct sky_h2_stream *stream)
{
    struct sky_conn *conn = stream->h2->conn;
    h2o_req_t *req = &stream->req;
    enum sky_refusal target = check_target(req, &conn->front->limits);

    req->input.scheme = conn->ssl != NULL ? &H2O_URL_SCHEME_HTTPS : &H2O_URL_SCHEME_HTTP;
    if (stream->refusal == SKY_REFUSAL_none)
        stream->refusal = target;
    if (stream->refusal == SKY_REFUSAL_none)
        stream->refusal = check_host(stream);
    if (stream->cookies.size != 0)
        join_cookies(stream);
    fill_gaps(req, target == SKY_REFUSAL_none);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/forward.h"

#include <stdio.h>

#include "proxy/back/forwarded.h"
#include "proxy/front/http1_front.h"
#include "proxy/http/http1_chars.h"
#include "proxy/peer_text.h"
#include "proxy/route/route.h"
#include "proxy/route/route_rules.h"

/* Every fixed text and number that a head may hold besides the request's own bytes. */
#define OWN_TEXT_BYTES 384

/* One head under way. */
struct head {
    const struct sky_forward *forward;
    const struct sky_route_fields *changes; /* of the route, NULL: none */
    struct sky_text prefix;                 /* that the route strips off the path */
    struct sky_text outer_prefix;           /* that a trusted peer has stripped */
    char *at;
    bool trusted;                            /* the peer's forwarded fields are believed */
    bool x_forwarded;                        /* those of X-Forwarded are sent */
    bool rfc7239;                            /* Forwarded is written */
    struct sky_text outer_proto, outer_host; /* of a trusted peer */
    bool has_proto, has_host, has_port;
    size_t forwarded_for_count; /* of a trusted peer */
    size_t forwarded_count;     /* the same of Forwarded, while it is written */
    size_t nominated_count;
    struct sky_text nominated[SKY_FORWARD_MAX_NOMINATED];
};

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

static void put(struct head *head, struct sky_text text)
{
    if (text.len != 0)
        memcpy(head->at, text.base, text.len);
    head->at += text.len;
}

static void put_field(struct head *head, struct sky_text name_colon, struct sky_text value)
{
    put(head, name_colon);
    put(head, value);
    put(head, SKY_TEXT("\r\n"));
}

/* Cuts the next name off a Connection field's list. */
static bool next_name(struct sky_text *list, struct sky_text *name)
{
    while (list->len != 0 && (*list->base == ',' || *list->base == ' ' || *list->base == '\t')) {
        list->base++;
        list->len--;
    }
    size_t len = 0;
    while (len < list->len && sky_http1_is(list->base[len], SKY_HTTP1_TOKEN))
        ++len;
    *name = sky_text(list->base, len);
    if (len == 0 && list->len != 0)
        len = 1; /* no token: what stands here names nothing */
    list->base += len;
    list->len -= len;
    return len != 0;
}

/* Fills `names` (may be NULL) with what Connection names besides its own options. Returns how many
 * there are, counting up to one too many. */
static size_t find_nominated(const h2o_req_t *req, struct sky_text *names)
{
    size_t count = 0;

    for (size_t i = 0; i < req->headers.size; ++i) {
        if (req->headers.entries[i].name != &H2O_TOKEN_CONNECTION->buf)
            continue;
        struct sky_text list = view(req->headers.entries[i].value), name;
        while (next_name(&list, &name)) {
            if (name.len == 0 || sky_text_equal_nocase(name, SKY_TEXT("close")) ||
                sky_text_equal_nocase(name, SKY_TEXT("keep-alive")))
                continue;
            if (count == SKY_FORWARD_MAX_NOMINATED)
                return count + 1;
            if (names != NULL)
                names[count] = name;
            ++count;
        }
    }
    return count;
}

static bool is_nominated(const struct head *head, struct sky_text name)
{
    for (size_t i = 0; i < head->nominated_count; ++i)
        if (sky_text_equal_nocase(name, head->nominated[i]))
            return true;
    return false;
}

/* Fields that h2o knows by name and that are not passed on. */
static bool is_dropped_token(const h2o_iovec_t *name)
{
    return name == &H2O_TOKEN_CONNECTION->buf || name == &H2O_TOKEN_KEEP_ALIVE->buf ||
           name == &H2O_TOKEN_TE->buf || name == &H2O_TOKEN_TRANSFER_ENCODING->buf ||
           name == &H2O_TOKEN_UPGRADE->buf || name == &H2O_TOKEN_HTTP2_SETTINGS->buf ||
           name == &H2O_TOKEN_HOST->buf || name == &H2O_TOKEN_CONTENT_LENGTH->buf ||
           name == &H2O_TOKEN_EXPECT->buf;
}

/* Names of what only a trusted peer may say about the client. */
static bool is_forwarded(struct sky_text name)
{
    return sky_text_starts(name, SKY_TEXT("x-forwarded-")) ||
           sky_text_equal(name, SKY_TEXT("forwarded")) ||
           sky_text_equal(name, SKY_TEXT("x-real-ip"));
}

/* Left out whoever has written it: fields that are not sent. */
static bool is_unsent(const struct head *head, struct sky_text name)
{
    if (head->x_forwarded || !is_forwarded(name))
        return false;
    return !head->rfc7239 || !sky_text_equal(name, SKY_TEXT("forwarded"));
}

/* What a trusted peer has said is not said again, and Forwarded may say it too. */
static void remember(struct head *head, struct sky_text name, struct sky_text value)
{
    if (sky_text_equal(name, SKY_TEXT("x-forwarded-port"))) {
        head->has_port = true;
    } else if (sky_text_equal(name, SKY_TEXT("x-forwarded-proto"))) {
        head->has_proto = true;
        head->outer_proto = value;
    } else if (sky_text_equal(name, SKY_TEXT("x-forwarded-host"))) {
        head->has_host = true;
        head->outer_host = value;
    }
}

static bool is_dropped(const struct head *head, struct sky_text name)
{
    const struct sky_forward *forward = head->forward;

    switch (name.base[0]) {
    case 's':
        if (sky_trace_strips(forward->config, forward->req, forward->trace, name))
            return true;
        break;
    case 'f':
    case 'x':
        if (!head->trusted && is_forwarded(name))
            return true;
        break;
    case 'p':
        if (sky_text_equal(name, SKY_TEXT("proxy-connection")) ||
            sky_text_equal(name, SKY_TEXT("proxy")))
            return true;
        break;
    case 't':
        if (sky_text_equal(name, SKY_TEXT("trailer")))
            return true;
        break;
    }
    if (memchr(name.base, '_', name.len) != NULL) {
        sky_count(&forward->worker->counters, SKY_COUNT_fields_underscore);
        return true;
    }
    return false;
}

static bool route_drops(const struct head *head, struct sky_text name)
{
    return head->changes != NULL && sky_route_drops(head->changes, name);
}

static void put_client_field(struct head *head, const h2o_header_t *field)
{
    struct sky_text name = view(*field->name);
    bool token = h2o_iovec_is_token(field->name);

    if (name.len == 0 || (token ? is_dropped_token(field->name) : is_dropped(head, name)) ||
        (head->nominated_count != 0 && is_nominated(head, name)) || route_drops(head, name))
        return;
    if (field->name == &H2O_TOKEN_X_FORWARDED_FOR->buf) {
        head->forwarded_for_count += head->trusted; /* written below, in one field */
        return;
    }
    if (!token && name.base[0] == 'x')
        remember(head, name, view(field->value));
    if (!token && is_unsent(head, name))
        return;
    if (head->rfc7239 && !token && sky_text_equal(name, SKY_TEXT("forwarded"))) {
        head->forwarded_count++; /* written below, in one field */
        return;
    }
    if (head->prefix.len != 0 && !token && sky_text_equal(name, SKY_TEXT("x-forwarded-prefix"))) {
        head->outer_prefix = view(field->value);
        return;
    }
    put(head, field->orig_name != NULL ? sky_text(field->orig_name, name.len) : name);
    put(head, SKY_TEXT(": "));
    put(head, view(field->value));
    put(head, SKY_TEXT("\r\n"));
}

static void put_forwarded_for(struct head *head, struct sky_text client)
{
    const h2o_headers_t *headers = &head->forward->req->headers;
    bool first = true;

    if ((head->forwarded_for_count == 0 && client.len == 0) ||
        route_drops(head, SKY_TEXT("x-forwarded-for")))
        return;
    put(head, SKY_TEXT("X-Forwarded-For: "));
    for (size_t i = 0; i < headers->size && head->forwarded_for_count != 0; ++i) {
        if (headers->entries[i].name != &H2O_TOKEN_X_FORWARDED_FOR->buf)
            continue;
        put(head, first ? sky_text(NULL, 0) : SKY_TEXT(", "));
        put(head, view(headers->entries[i].value));
        first = false;
    }
    put(head, first || client.len == 0 ? sky_text(NULL, 0) : SKY_TEXT(", "));
    put(head, client);
    put(head, SKY_TEXT("\r\n"));
}

/* The Host as the client sent it. An HTTP/1.0 client may send none (in HTTP/2, h2o puts the name of
 * its own configuration there): then the server's address, which is at least true. */
static struct sky_text choose_host(const struct sky_forward *forward)
{
    const h2o_req_t *req = forward->req;
    if (req->authority.len != 0 && req->authority.base != req->hostconf->authority.hostport.base)
        return view(req->authority);
    return forward->server->host != NULL ? sky_text_of(forward->server->text)
                                         : SKY_TEXT("localhost");
}

static bool wants_length(const h2o_req_t *req)
{
    struct sky_text method = view(req->method);

    return req->entity.base != NULL || sky_text_equal(method, SKY_TEXT("POST")) ||
           sky_text_equal(method, SKY_TEXT("PUT")) || sky_text_equal(method, SKY_TEXT("PATCH"));
}

static void put_length(struct head *head, uint64_t length)
{
    char digits[24], *at = digits + sizeof(digits);

    do
        *--at = (char)('0' + length % 10);
    while ((length /= 10) != 0);
    put_field(head, SKY_TEXT("Content-Length: "),
              sky_text(at, (size_t)(digits + sizeof(digits) - at)));
}

/* What the app's URLs begin with, as the outermost client sees them. */
static void put_prefix(struct head *head)
{
    struct sky_text outer = head->outer_prefix;

    while (outer.len != 0 && outer.base[outer.len - 1] == '/')
        outer.len--;
    put(head, SKY_TEXT("X-Forwarded-Prefix: "));
    put(head, outer);
    put(head, head->prefix);
    put(head, SKY_TEXT("\r\n"));
}

/* Method, target, version and Host. */
static void put_start(struct head *head, struct sky_text host)
{
    const struct sky_route_config *route = head->forward->route;
    const h2o_req_t *req = head->forward->req;

    put(head, view(req->method));
    put(head, SKY_TEXT(" "));
    if (head->prefix.len != 0) {
        put(head, SKY_TEXT("/"));
        put(head, sky_route_rest(route, req));
    } else {
        put(head, view(req->path));
    }
    put(head, SKY_TEXT(" HTTP/1.1\r\n"));
    if (route != NULL && route->rules->request_host != NULL)
        host = sky_text_of(route->rules->request_host);
    put_field(head, SKY_TEXT("Host: "), host);
}

static void take_rules(struct head *head, const struct sky_route_config *route)
{
    head->changes = &route->rules->request;
    if (route->rules->strip_prefix == SKY_SWITCH_ON)
        head->prefix = sky_text(route->path, strlen(route->path) - 1); /* without its last slash */
}

static size_t bound_of_rules(const struct sky_route_config *route)
{
    const struct sky_route_rules *rules = route->rules;

    return strlen(route->path) + rules->request.lines_bytes +
           (rules->request_host != NULL ? strlen(rules->request_host) : 0);
}

static void put_forwarded(struct head *head, struct sky_text host, struct sky_text client)
{
    const h2o_req_t *req = head->forward->req;
    struct sky_forwarded forwarded = {
        .headers = &req->headers,
        .passes = head->forwarded_count != 0,
        .converts = head->forwarded_count == 0 && head->forwarded_for_count != 0,
        .outer_host = head->outer_host,
        .outer_proto = head->outer_proto,
        .client = client,
        .host = host,
        .proto = view(req->scheme->name),
    };

    put(head, SKY_TEXT("Forwarded: "));
    head->at = sky_forwarded_write(&forwarded, head->at);
    put(head, SKY_TEXT("\r\n"));
}

static void put_port(struct head *head)
{
    const h2o_req_t *req = head->forward->req;
    struct sockaddr_storage local = {0};
    char text[8];

    req->conn->callbacks->get_sockname(req->conn, (struct sockaddr *)&local);
    int32_t port = h2o_socket_getport((struct sockaddr *)&local);
    if (port <= 0) /* a unix socket */
        return;
    int len = snprintf(text, sizeof(text), "%d", (int)port);
    put_field(head, SKY_TEXT("X-Forwarded-Port: "), sky_text(text, (size_t)len));
}

static void put_x_forwarded(struct head *head, struct sky_text host, struct sky_text client)
{
    const struct sky_forward *forward = head->forward;

    put_forwarded_for(head, client);
    if (!head->has_proto && !route_drops(head, SKY_TEXT("x-forwarded-proto")))
        put_field(head, SKY_TEXT("X-Forwarded-Proto: "), view(forward->req->scheme->name));
    if (!head->has_host && !route_drops(head, SKY_TEXT("x-forwarded-host")))
        put_field(head, SKY_TEXT("X-Forwarded-Host: "), host);
    if (forward->config->forwarded.port && !head->has_port &&
        !route_drops(head, SKY_TEXT("x-forwarded-port")))
        put_port(head);
    if (head->prefix.len != 0)
        put_prefix(head);
}

static void put_own_fields(struct head *head, struct sky_text host, struct sky_text client)
{
    const struct sky_forward *forward = head->forward;

    if (head->x_forwarded)
        put_x_forwarded(head, host, client);
    if (head->rfc7239 && !route_drops(head, SKY_TEXT("forwarded")))
        put_forwarded(head, host, client);
    if (forward->body != NULL && forward->body->chunked)
        put(head, SKY_TEXT("Transfer-Encoding: chunked\r\n"));
    else if (forward->body != NULL)
        put_length(head, forward->body->length);
    else if (wants_length(forward->req))
        put_length(head, forward->req->entity.len);
    if (forward->upgrade.len != 0) {
        put(head, SKY_TEXT("Connection: Upgrade\r\n"));
        put_field(head, SKY_TEXT("Upgrade: "), forward->upgrade);
    } else if (forward->close) {
        put(head, SKY_TEXT("Connection: close\r\n"));
    }
    put(head, forward->trace_lines);
    if (head->changes != NULL)
        put(head, sky_text(head->changes->lines, head->changes->lines_bytes));
}

size_t sky_forward_bound(const struct sky_forward *forward)
{
    const h2o_req_t *req = forward->req;
    size_t bytes = OWN_TEXT_BYTES + SKY_PEER_TEXT_BYTES + req->method.len + req->path.len +
                   3 * choose_host(forward).len + forward->trace_lines.len + forward->upgrade.len;

    if (forward->route != NULL)
        bytes += bound_of_rules(forward->route);
    for (size_t i = 0; i < req->headers.size; ++i)
        bytes += req->headers.entries[i].name->len + req->headers.entries[i].value.len + 4;
    if (forward->config->forwarded.rfc7239)
        bytes += sky_forwarded_bound(&req->headers);
    return bytes;
}

size_t sky_forward_write(const struct sky_forward *forward, char *dst)
{
    const h2o_req_t *req = forward->req;
    struct sockaddr_storage peer = {0};
    char client[SKY_PEER_TEXT_BYTES];
    struct sky_text host = choose_host(forward);
    struct head head;

    memset(&head, 0, offsetof(struct head, nominated));
    head.forward = forward;
    head.at = dst;
    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer);
    head.trusted = sky_trust_peer(sky_front_forwarded_trust(req, &forward->config->forwarded.trust),
                                  (struct sockaddr *)&peer);
    head.x_forwarded = forward->config->forwarded.fields == SKY_FORWARDED_X ||
                       forward->config->forwarded.fields == SKY_FORWARDED_BOTH;
    head.rfc7239 = forward->config->forwarded.rfc7239;
    head.nominated_count = find_nominated(req, head.nominated);

    if (forward->route != NULL)
        take_rules(&head, forward->route);

    put_start(&head, host);
    for (size_t i = 0; i < req->headers.size; ++i)
        put_client_field(&head, &req->headers.entries[i]);
    put_own_fields(&head, host, sky_peer_ip(&peer, client));
    put(&head, SKY_TEXT("\r\n"));
    return (size_t)(head.at - dst);
}

const char *sky_forward_check(const h2o_req_t *req)
{
    if (find_nominated(req, NULL) > SKY_FORWARD_MAX_NOMINATED)
        return "too many names in Connection";
    return NULL;
}

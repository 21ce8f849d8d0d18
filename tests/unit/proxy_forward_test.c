/* SPDX-License-Identifier: Apache-2.0 */
/* The request head that the upstream gets: what passes, what does not, and in which order. */
#include "proxy/back/forward.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cmocka.h>

#include "proxy/route/route_rules.h"

#define TRUSTED "10.0.0.1"
#define STRANGER "203.0.113.9"

/* Everything that a head is made of; lines of `fields` end in \n. */
struct sample {
    const char *peer;   /* "" is a unix socket */
    const char *fields; /* as the client sent them, Host left out */
    const char *lines;  /* what follows Host, without CR; the empty line left out */
};

static const struct sample samples[] = {
    /* end-to-end fields: all, apart, in order, in their case, byte for byte */
    {STRANGER, "User-Agent: curl\nAccept: */*\nX-a: 1\nCOOKIE: b=2\nX-A: 3\n",
     "User-Agent: curl\nAccept: */*\nX-a: 1\nCOOKIE: b=2\nX-A: 3\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {STRANGER,
     "Proxy-Authorization: Basic eA==\nAuthorization: x\nIf-None-Match: \"a\"\nRange: b\n",
     "Proxy-Authorization: Basic eA==\nAuthorization: x\nIf-None-Match: \"a\"\nRange: b\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {STRANGER, "X-Empty: \nVia: 1.1 a\nMax-Forwards: 3\nOrigin: http://x\n",
     "X-Empty: \nVia: 1.1 a\nMax-Forwards: 3\nOrigin: http://x\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* fields of the connection */
    {STRANGER,
     "Connection: keep-alive\nKeep-Alive: 300\nTE: trailers\nTrailer: X\nUpgrade: h2c\n"
     "HTTP2-Settings: x\nProxy-Connection: y\nTransfer-Encoding: chunked\nContent-Length: 3\n"
     "Expect: 100-continue\nA: b\n",
     "A: b\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* and those that Connection names */
    {STRANGER,
     "X-One: 1\nConnection: x-one, close,,X-THREE\nX-Two: 2\nx-three: 3\nUser-Agent: c\n"
     "Connection: user-agent\n",
     "X-Two: 2\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {STRANGER, "Connection: \"x\" ; x-one=5\nX-One: 1\n",
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {TRUSTED,
     "Connection: x-forwarded-for, x-forwarded-proto\nX-Forwarded-For: 1.1.1.1\n"
     "X-Forwarded-Proto: https\n",
     "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* names that WSGI takes for others, and HTTP_PROXY */
    {STRANGER, "X_Forwarded_For: 1\nContent_Length: 5\nA_b: c\nA-b: c\nProxy: evil\nProxy-X: y\n",
     "A-b: c\nProxy-X: y\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* what a stranger says about the client */
    {STRANGER,
     "X-Forwarded-For: 1.1.1.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil\n"
     "X-Forwarded-Prefix: /x\nX-Forwarded-Port: 1\nForwarded: for=1\nX-Real-IP: 1.1.1.1\n"
     "X-Forward: a\nForwarded-x: b\nX-Real-IPs: c\n",
     "X-Forward: a\nForwarded-x: b\nX-Real-IPs: c\n"
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* and a trusted peer */
    {TRUSTED,
     "X-Forwarded-For: 1.1.1.1\nA: b\nX-Forwarded-Proto: https\nX-Forwarded-Host: shop.de\n"
     "X-Forwarded-Port: 443\nForwarded: for=1\n",
     "A: b\nX-Forwarded-Proto: https\nX-Forwarded-Host: shop.de\nX-Forwarded-Port: 443\n"
     "Forwarded: for=1\nX-Forwarded-For: 1.1.1.1, 10.0.0.1\n"},
    {TRUSTED, "X-Forwarded-For: 1.1.1.1, 2.2.2.2\nX-FORWARDED-FOR: 3.3.3.3\n",
     "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1\n"
     "X-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {"", "X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 2.2.2.2\n",
     "X-Forwarded-For: 1.1.1.1, 2.2.2.2\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {"", "", "X-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {"2001:db8::1", "X-Forwarded-For: 1.1.1.1\n",
     "X-Forwarded-For: 2001:db8::1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {"::ffff:10.0.0.255", "X-Forwarded-For: 1.1.1.1\n",
     "X-Forwarded-For: 1.1.1.1, 10.0.0.255\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {"::1", "X-Forwarded-For: 1.1.1.1\n",
     "X-Forwarded-For: 1.1.1.1, ::1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    /* trace fields: untraced, a trusted peer's pass, but never the helper's own */
    {TRUSTED, "sw8: 1-x\nsw8-correlation: y\nsw8-x: 0\nsw8-stitch: z\nsw8-stitch-data: q\nswx: r\n",
     "sw8: 1-x\nsw8-correlation: y\nsw8-x: 0\nswx: r\n"
     "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
    {STRANGER, "sw8: 1-x\nSW8-Correlation: y\nsw8-x: 0\nSW8-Stitch: z\n",
     "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"},
};

/* --- a request without a connection --- */

struct fixture {
    struct sky_worker worker;
    struct sky_config config;
    struct sky_address server;
    h2o_hostconf_t host;
    h2o_conn_t conn;
    h2o_req_t req;
    struct sky_forward forward;
};

static struct sockaddr_storage peer;

static socklen_t get_peername(h2o_conn_t *conn, struct sockaddr *address)
{
    (void)conn;
    memcpy(address, &peer, sizeof(peer));
    return sizeof(peer);
}

static const h2o_conn_callbacks_t callbacks = {.get_peername = get_peername};

static void set_peer(const char *text)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&peer;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&peer;

    memset(&peer, 0, sizeof(peer));
    if (text[0] == '\0')
        peer.ss_family = AF_UNIX;
    else if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
        peer.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
        peer.ss_family = AF_INET6;
    else
        fail_msg("no address: %s", text);
}

static h2o_iovec_t text_in_pool(h2o_mem_pool_t *pool, const char *text)
{
    return h2o_strdup(pool, text, strlen(text));
}

/* As the front does: lower-case names, tokens where h2o knows them. */
static void add_fields(h2o_req_t *req, const char *fields)
{
    while (*fields != '\0') {
        const char *colon = strchr(fields, ':'), *end = strchr(fields, '\n');
        h2o_iovec_t name = h2o_strdup(&req->pool, fields, (size_t)(colon - fields));
        h2o_strtolower(name.base, name.len);
        h2o_add_header_by_str(&req->pool, &req->headers, name.base, name.len, 1, fields, colon + 2,
                              (size_t)(end - colon) - 2);
        fields = end + 1;
    }
}

static struct fixture *set_up(const char *from, const char *fields)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    h2o_req_t *req = &fixture->req;

    set_peer(from);
    fixture->worker.config = &fixture->config;
    assert_null(sky_trust_parse("private", &fixture->config.forwarded.trust));
    assert_null(sky_trust_parse("private", &fixture->config.agent.trust_incoming));
    assert_null(sky_address_parse("app:8000", &fixture->server));
    fixture->host.authority.hostport = h2o_iovec_init(H2O_STRLIT("default"));
    fixture->conn = (h2o_conn_t){.ctx = &fixture->worker.ctx, .callbacks = &callbacks};
    h2o_init_request(req, &fixture->conn, NULL);
    req->version = 0x101;
    req->hostconf = &fixture->host;
    req->scheme = &H2O_URL_SCHEME_HTTP;
    req->method = text_in_pool(&req->pool, "GET");
    req->path = text_in_pool(&req->pool, "/a%2fb/../c?d=e&&f#");
    req->authority = text_in_pool(&req->pool, "shop");
    add_fields(req, fields);
    fixture->forward = (struct sky_forward){.worker = &fixture->worker,
                                            .config = &fixture->config,
                                            .req = req,
                                            .server = &fixture->server};
    return fixture;
}

static void tear_down(struct fixture *fixture)
{
    h2o_mem_clear_pool(&fixture->req.pool);
    sky_trust_fini(&fixture->config.forwarded.trust);
    sky_trust_fini(&fixture->config.agent.trust_incoming);
    sky_address_fini(&fixture->server);
    free(fixture);
}

/* The head without its CRs, in a buffer of exactly the size that was promised to suffice. */
static char *write_head(struct fixture *fixture)
{
    size_t bound = sky_forward_bound(&fixture->forward), kept = 0;
    char *head = malloc(bound);
    size_t len = sky_forward_write(&fixture->forward, head);

    assert_in_range(len, 1, bound);
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; ++i) {
        assert_int_equal(head[i] == '\n', i != 0 && head[i - 1] == '\r');
        if (head[i] != '\r')
            text[kept++] = head[i];
    }
    text[kept] = '\0';
    free(head);
    return text;
}

static void expect_head(struct fixture *fixture, const char *start, const char *lines)
{
    char wanted[4096];
    char *head = write_head(fixture);

    snprintf(wanted, sizeof(wanted), "%s%s\n", start, lines);
    assert_string_equal(head, wanted);
    free(head);
}

#define START "GET /a%2fb/../c?d=e&&f# HTTP/1.1\nHost: shop\n"
#define OWN "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); ++i) {
        struct fixture *fixture = set_up(samples[i].peer, samples[i].fields);
        expect_head(fixture, START, samples[i].lines);
        tear_down(fixture);
    }
}

static void test_trace_lines_replace_what_came(void **state)
{
    static const char mark;
    struct fixture *fixture = set_up(TRUSTED, "sw8: 1-x\nsw8-x: 1\nsw8-correlation: c\nA: b\n");

    (void)state;
    fixture->forward.trace = (const struct sky_trace *)&mark; /* that there is one is all */
    fixture->forward.trace_lines = SKY_TEXT("sw8: ours\r\nsw8-stitch: t\r\n");
    expect_head(fixture, START,
                "A: b\nX-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\n"
                "X-Forwarded-Host: shop\nsw8: ours\nsw8-stitch: t\n");
    tear_down(fixture);
}

static void test_length(void **state)
{
    static const struct {
        const char *method, *body, *line;
    } cases[] = {
        {"GET", NULL, ""},
        {"DELETE", NULL, ""},
        {"POST", NULL, "Content-Length: 0\n"},
        {"PUT", NULL, "Content-Length: 0\n"},
        {"PATCH", NULL, "Content-Length: 0\n"},
        {"GET", "", "Content-Length: 0\n"},
        {"GET", "abc", "Content-Length: 3\n"},
        {"POST", "0123456789a", "Content-Length: 11\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        char start[64], lines[256];
        struct fixture *fixture = set_up(STRANGER, "");
        fixture->req.method = text_in_pool(&fixture->req.pool, cases[i].method);
        if (cases[i].body != NULL)
            fixture->req.entity = text_in_pool(&fixture->req.pool, cases[i].body);
        snprintf(start, sizeof(start), "%s%s", cases[i].method, START + 3);
        snprintf(lines, sizeof(lines), "%s%s", OWN, cases[i].line);
        expect_head(fixture, start, lines);
        tear_down(fixture);
    }
}

static void test_scheme_and_close(void **state)
{
    struct fixture *fixture = set_up(STRANGER, "");

    (void)state;
    fixture->req.scheme = &H2O_URL_SCHEME_HTTPS;
    fixture->forward.close = true;
    expect_head(fixture, START,
                "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: https\n"
                "X-Forwarded-Host: shop\nConnection: close\n");
    tear_down(fixture);
}

static void test_host_of_a_client_that_named_none(void **state)
{
    struct fixture *fixture = set_up(STRANGER, "");

    (void)state;
    fixture->req.authority = fixture->host.authority.hostport;
    expect_head(fixture, "GET /a%2fb/../c?d=e&&f# HTTP/1.1\nHost: app:8000\n",
                "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\n"
                "X-Forwarded-Host: app:8000\n");
    sky_address_fini(&fixture->server);
    fixture->req.authority = h2o_iovec_init("", 0);
    assert_null(sky_address_parse("unix:/run/app.sock", &fixture->server));
    expect_head(fixture, "GET /a%2fb/../c?d=e&&f# HTTP/1.1\nHost: localhost\n",
                "X-Forwarded-For: 203.0.113.9\nX-Forwarded-Proto: http\n"
                "X-Forwarded-Host: localhost\n");
    tear_down(fixture);
}

/* What the file says is read by the configuration's own tests; here it is made by hand. */
static void set_rules(struct sky_route_rules *rules)
{
    assert_true(sky_route_fields_drop(&rules->request, "Cookie") &&
                sky_route_fields_drop(&rules->request, "X-Area") &&
                sky_route_fields_add(&rules->request, "X-Area", "a") &&
                sky_route_fields_add(&rules->request, "X-More", "b") &&
                sky_route_fields_complete(&rules->request));
}

static void test_rules_of_a_route(void **state)
{
    struct sky_route_rules *rules = sky_route_rules_new();
    struct sky_route_config route = {.path = (char *)(uintptr_t) "/", .rules = rules};
    struct fixture *fixture = set_up(STRANGER, "COOKIE: a\nx-area: 1\nX-More: 2\nA: b\n");

    (void)state;
    set_rules(rules);
    fixture->forward.route = &route;
    expect_head(fixture, START, "X-More: 2\nA: b\n" OWN "X-Area: a\nX-More: b\n");
    rules->request_host = strdup("inner:1");
    expect_head(fixture, "GET /a%2fb/../c?d=e&&f# HTTP/1.1\nHost: inner:1\n",
                "X-More: 2\nA: b\n" OWN "X-Area: a\nX-More: b\n");
    tear_down(fixture);
    sky_route_rules_destroy(rules);
}

static void test_rules_replace_what_is_ours(void **state)
{
    static const char *const names[] = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"};
    struct sky_route_rules *rules = sky_route_rules_new();
    struct sky_route_config route = {.path = (char *)(uintptr_t) "/", .rules = rules};
    struct fixture *fixture = set_up(TRUSTED, "X-Forwarded-For: 1.1.1.1\nA: b\n");

    (void)state;
    for (size_t i = 0; i < 3; ++i)
        assert_true(sky_route_fields_drop(&rules->request, names[i]));
    assert_true(sky_route_fields_add(&rules->request, "X-Forwarded-Proto", "https"));
    assert_true(sky_route_fields_complete(&rules->request));
    fixture->forward.route = &route;
    expect_head(fixture, START, "A: b\nX-Forwarded-Proto: https\n");
    tear_down(fixture);
    sky_route_rules_destroy(rules);
}

static void test_prefix_is_stripped(void **state)
{
    static const struct {
        const char *peer, *fields, *path, *target, *prefix;
    } cases[] = {
        {STRANGER, "", "/api/", "/", "/api"},
        {STRANGER, "", "/api/?a=/api/", "/?a=/api/", "/api"},
        {STRANGER, "", "/api/x%2Fy/../z?q", "/x%2Fy/../z?q", "/api"},
        {STRANGER, "", "/%61pi%2Fx", "/x", "/api"},
        {STRANGER, "", "/b/../api/x", "/x", "/api"},
        {STRANGER, "", "/api/../api//x", "//x", "/api"},
        {STRANGER, "X-Forwarded-Prefix: /evil\n", "/api/x", "/x", "/api"},
        {TRUSTED, "X-Forwarded-Prefix: /out/\n", "/api/x", "/x", "/out/api"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        struct sky_route_rules *rules = sky_route_rules_new();
        struct sky_route_config route = {.path = (char *)(uintptr_t) "/api/", .rules = rules};
        struct fixture *fixture = set_up(cases[i].peer, cases[i].fields);
        h2o_req_t *req = &fixture->req;
        char start[128], lines[256];
        rules->strip_prefix = SKY_SWITCH_ON;
        assert_true(sky_route_fields_complete(&rules->request));
        fixture->forward.route = &route;
        req->path = text_in_pool(&req->pool, cases[i].path);
        req->path_normalized = h2o_url_normalize_path(&req->pool, req->path.base, req->path.len,
                                                      &req->query_at, &req->norm_indexes);
        snprintf(start, sizeof(start), "GET %s HTTP/1.1\nHost: shop\n", cases[i].target);
        snprintf(lines, sizeof(lines),
                 "X-Forwarded-For: %s\nX-Forwarded-Proto: http\nX-Forwarded-Host: shop\n"
                 "X-Forwarded-Prefix: %s\n",
                 cases[i].peer, cases[i].prefix);
        expect_head(fixture, start, lines);
        tear_down(fixture);
        sky_route_rules_destroy(rules);
    }
}

static void test_bound_holds_for_the_largest(void **state)
{
    struct fixture *fixture = set_up("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "");
    char *lines = calloc(1, 100000);

    (void)state;
    for (int i = 0; i < 90; ++i)
        strcat(lines, "X-Forwarded-For: 1\n");
    sky_trust_fini(&fixture->config.forwarded.trust);
    assert_null(sky_trust_parse("always", &fixture->config.forwarded.trust));
    add_fields(&fixture->req, lines);
    fixture->req.entity = h2o_iovec_init("", SIZE_MAX);
    fixture->req.authority = h2o_iovec_init(lines, 1000);
    memset(lines, 'h', 1000);
    fixture->forward.close = true;
    free(write_head(fixture));
    fixture->req.entity = h2o_iovec_init(NULL, 0);
    free(lines);
    tear_down(fixture);
}

/* Each name costs a comparison with each field. */
static void test_too_many_nominated(void **state)
{
    char fields[512] = "Connection: close";

    (void)state;
    for (int i = 0; i < SKY_FORWARD_MAX_NOMINATED; ++i)
        sprintf(fields + strlen(fields), ",x%d", i);
    strcat(fields, "\nX31: a\nX32: b\n");
    struct fixture *fixture = set_up(STRANGER, fields);
    assert_null(sky_forward_check(&fixture->req));
    expect_head(fixture, START, "X32: b\n" OWN);
    add_fields(&fixture->req, "Connection: one-more\n");
    assert_string_equal(sky_forward_check(&fixture->req), "too many names in Connection");
    tear_down(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_trace_lines_replace_what_came),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_scheme_and_close),
        cmocka_unit_test(test_host_of_a_client_that_named_none),
        cmocka_unit_test(test_rules_of_a_route),
        cmocka_unit_test(test_rules_replace_what_is_ours),
        cmocka_unit_test(test_prefix_is_stripped),
        cmocka_unit_test(test_bound_holds_for_the_largest),
        cmocka_unit_test(test_too_many_nominated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

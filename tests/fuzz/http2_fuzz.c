/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of an HTTP/2 client, in two pieces, to a front with its loop: whatever they are, a handler
 * sees only requests that can stand in an HTTP/1 head, and nothing of them is left at the end. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/config/site.h"
#include "proxy/front/door.h"
#include "proxy/front/http2.h"
#include "proxy/http/http1_chars.h"
#include "reporter/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define SIZE_MAX_TAKEN 16384
#define HEAD_BYTES 4096
#define FIELDS 20

static struct sky_site site;
static struct sky_config config;
static h2o_context_t ctx;
static struct sky_front *front;
static struct sky_door *door;

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void expect_all(h2o_iovec_t text, enum sky_http1_class class)
{
    for (size_t i = 0; i < text.len; i++)
        expect(sky_http1_is(text.base[i], class));
}

/* Answers in the handler, or from the loop when the path says so. */
static int on_req(h2o_handler_t *handler, h2o_req_t *req)
{
    static const char body[] = "hello";
    static h2o_generator_t generator = {NULL, NULL};
    h2o_iovec_t piece = h2o_iovec_init(body, sizeof(body) - 1);

    (void)handler;
    expect(req->method.len != 0 && req->input.path.len != 0 && req->input.authority.len != 0);
    expect_all(req->method, SKY_HTTP1_TOKEN);
    expect_all(req->input.path, SKY_HTTP1_TARGET);
    expect(req->input.path.base[0] == '/' || req->input.path.base[0] == '*');
    expect(!h2o_memis(req->method.base, req->method.len, H2O_STRLIT("CONNECT")));
    expect(req->headers.size <= FIELDS + 1);
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *field = &req->headers.entries[i];
        expect(field->name->len != 0 && field->name->base[0] != ':');
        expect_all(*field->name, SKY_HTTP1_TOKEN);
        expect_all(field->value, SKY_HTTP1_VALUE);
        expect(memchr(field->name->base, '_', field->name->len) == NULL);
        expect(field->name != &H2O_TOKEN_CONNECTION->buf && field->name != &H2O_TOKEN_HOST->buf);
    }
    req->res.status = 200;
    req->res.reason = "OK";
    h2o_start_response(req, &generator);
    h2o_send(req, &piece, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void start(void)
{
    sky_log_set_level(SKY_LOG_ERROR);
    sky_site_init(&site);
    h2o_create_handler(site.path, sizeof(h2o_handler_t))->on_req = on_req;
    sky_front_prepare(&site.globalconf);
    h2o_context_init(&ctx, h2o_evloop_create(), &site.globalconf);
    config.limits.request_line = 512;
    config.limits.header = HEAD_BYTES;
    config.limits.header_fields = FIELDS;
    config.limits.body = 8192;
    config.limits.http2_streams = 10;
    config.limits.http2_resets = 20;
    config.buffer.memory = 4096;
    config.buffer.directory = (char *)(uintptr_t) "/tmp";
    config.timeouts.idle_ms = config.timeouts.header_ms = config.timeouts.body_ms = 60000;
    config.timeouts.write_ms = config.timeouts.handshake_ms = 60000;
    static const struct sky_listener_config listener = {.h2c = true};
    door = sky_door_new(&listener, NULL);
    front = sky_front_new(&ctx, site.globalconf.hosts, &config, NULL);
}

static void turn(int client)
{
    char heard[65536];

    for (int i = 0; i < 4; i++)
        h2o_evloop_run(ctx.loop, 0);
    while (recv(client, heard, sizeof(heard), MSG_DONTWAIT) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    int fds[2];

    if (size == 0 || size > SIZE_MAX_TAKEN)
        return 0;
    if (front == NULL)
        start();
    size_t cut = size * bytes[0] / 256;
    expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    sky_front_accept_at(
        front, h2o_evloop_socket_create(ctx.loop, fds[1], H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION),
        door);
    send(fds[0], NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN, MSG_NOSIGNAL);
    send(fds[0], bytes + 1, cut > 1 ? cut - 1 : 0, MSG_NOSIGNAL);
    turn(fds[0]);
    if (cut < 1)
        cut = 1;
    send(fds[0], bytes + cut, size - cut, MSG_NOSIGNAL);
    turn(fds[0]);
    close(fds[0]);
    for (int i = 0; sky_front_connection_count(front) != 0; i++) {
        expect(i < 1000);
        h2o_evloop_run(ctx.loop, 1);
    }
    return 0;
}

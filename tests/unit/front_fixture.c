/* SPDX-License-Identifier: Apache-2.0 */
#include "front_fixture.h"

struct fixture *fixture;

/* ---- handlers ---- */

static h2o_generator_t inline_generator;

static void copy(char *dst, size_t size, h2o_iovec_t text)
{
    snprintf(dst, size, "%.*s", (int)text.len, text.base);
}

static void note_request(h2o_req_t *req)
{
    size_t at = 0;

    fixture->calls++;
    copy(fixture->method, sizeof fixture->method, req->method);
    copy(fixture->path, sizeof fixture->path, req->path);
    copy(fixture->authority, sizeof fixture->authority, req->authority);
    fixture->fields[0] = '\0';
    for (size_t i = 0; i < req->headers.size; i++) {
        const h2o_header_t *field = &req->headers.entries[i];
        at +=
            (size_t)snprintf(fixture->fields + at, sizeof fixture->fields - at, "%.*s|%.*s: %.*s\n",
                             (int)field->name->len, field->name->base, (int)field->name->len,
                             field->orig_name, (int)field->value.len, field->value.base);
    }
    fixture->has_entity = req->entity.base != NULL;
    fixture->entity_len = req->entity.len;
    if (req->entity.len != 0 && req->entity.len <= sizeof fixture->entity)
        memcpy(fixture->entity, req->entity.base, req->entity.len);
    enum sky_refusal refusal = sky_front_refusal(req);
    fixture->refusal = refusal != SKY_REFUSAL_none ? sky_refusal_row(refusal)->status : 0;
    fixture->received_us = sky_front_received_us(req);
}

static void send_text(h2o_req_t *req, int status, const char *text)
{
    h2o_iovec_t body = h2o_strdup(&req->pool, text, SIZE_MAX);

    req->res.status = status;
    req->res.reason = "Reason";
    h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-test"), 0, "X-Test",
                          H2O_STRLIT("yes"));
    h2o_start_response(req, &inline_generator);
    h2o_send(req, &body, body.len != 0, H2O_SEND_STATE_FINAL);
}

/* A body in pieces: each proceed sends the next one. */
struct pieces {
    h2o_generator_t super;
    const char *texts[4];
    size_t next, count;
    h2o_send_state_t last;
};

static void send_piece(h2o_generator_t *super, h2o_req_t *req)
{
    struct pieces *pieces = H2O_STRUCT_FROM_MEMBER(struct pieces, super, super);
    h2o_iovec_t text =
        h2o_iovec_init(pieces->texts[pieces->next], strlen(pieces->texts[pieces->next]));
    bool last = ++pieces->next == pieces->count;

    fixture->proceeds++;
    h2o_send(req, &text, text.len != 0, last ? pieces->last : H2O_SEND_STATE_IN_PROGRESS);
    pieces->super.proceed = send_piece; /* as handlers do: ours still, whatever h2o_send did */
}

static void on_stop(h2o_generator_t *super, h2o_req_t *req)
{
    (void)super;
    fixture->stops++;
    if (fixture->waiting == req)
        fixture->waiting = NULL;
}

static void send_pieces(h2o_req_t *req, int status, h2o_send_state_t last, size_t content_length)
{
    struct pieces *pieces = h2o_mem_alloc_pool(&req->pool, sizeof *pieces);

    *pieces = (struct pieces){.super = {send_piece, on_stop},
                              .texts = {"one", "", "twotwo", "three"},
                              .count = 4,
                              .last = last};
    req->res.status = status;
    req->res.content_length = content_length;
    h2o_start_response(req, &pieces->super);
    send_piece(&pieces->super, req);
}

static void send_big(h2o_req_t *req)
{
    h2o_iovec_t body = {h2o_mem_alloc_pool(&req->pool, fixture->body_size), fixture->body_size};

    for (size_t i = 0; i < body.len; i++)
        body.base[i] = (char)('a' + i % 23);
    req->res.status = 200;
    req->res.content_length = body.len;
    h2o_start_response(req, &inline_generator);
    h2o_send(req, &body, 1, H2O_SEND_STATE_FINAL);
}

/* Never at a loss for something to send, until body_size is reached. */
struct ticks {
    h2o_generator_t super;
    size_t left;
};

static void send_tick(h2o_generator_t *super, h2o_req_t *req)
{
    static char zeros[16384];
    struct ticks *ticks = H2O_STRUCT_FROM_MEMBER(struct ticks, super, super);
    h2o_iovec_t piece = {zeros, ticks->left < sizeof zeros ? ticks->left : sizeof zeros};

    fixture->proceeds++;
    ticks->left -= piece.len;
    h2o_send(req, &piece, 1, ticks->left == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void send_ticks(h2o_req_t *req)
{
    struct ticks *ticks = h2o_mem_alloc_pool(&req->pool, sizeof *ticks);

    *ticks = (struct ticks){{send_tick, on_stop}, fixture->body_size};
    req->res.status = 200;
    h2o_start_response(req, &ticks->super);
    send_tick(&ticks->super, req);
}

static void inform(h2o_req_t *req)
{
    h2o_headers_t fields = {NULL};

    h2o_add_header_by_str(&req->pool, &fields, H2O_STRLIT("link"), 0, "Link", H2O_STRLIT("</a>"));
    sky_front_inform(req, 103, fields.entries, fields.size);
    sky_front_inform(req, 101, NULL, 0);
    sky_front_inform(req, 200, NULL, 0);
    send_text(req, 200, "informed");
}

static void wait_for_test(h2o_req_t *req)
{
    static h2o_generator_t waiting = {NULL, on_stop};

    req->res.status = 200;
    h2o_start_response(req, &waiting);
    fixture->waiting = req;
}

static void count_end(void *arg)
{
    h2o_req_t *req = *(h2o_req_t **)arg;

    if (req->timestamps.response_end_at.tv_sec != 0)
        fixture->whole++;
    else
        fixture->broken++;
}

/* ---- which path is answered how ---- */

static void answer_hello(h2o_req_t *req)
{
    send_text(req, 200, "hello");
}

static void answer_echo(h2o_req_t *req)
{
    h2o_iovec_t body = h2o_strdup(&req->pool, req->entity.base, req->entity.len);

    req->res.content_length = body.len;
    send_text(req, 200, body.base);
}

static void answer_stream(h2o_req_t *req)
{
    send_pieces(req, 200, H2O_SEND_STATE_FINAL, SIZE_MAX);
}

/* The last piece is empty. */
static void answer_stream_end(h2o_req_t *req)
{
    struct pieces *pieces = h2o_mem_alloc_pool(&req->pool, sizeof *pieces);

    *pieces = (struct pieces){.super = {send_piece, on_stop},
                              .texts = {"one", ""},
                              .count = 2,
                              .last = H2O_SEND_STATE_FINAL};
    req->res.status = 200;
    h2o_start_response(req, &pieces->super);
    send_piece(&pieces->super, req);
}

static void answer_stream404(h2o_req_t *req)
{
    send_pieces(req, 404, H2O_SEND_STATE_FINAL, SIZE_MAX);
}

static void answer_sized(h2o_req_t *req)
{
    send_pieces(req, 200, H2O_SEND_STATE_FINAL, 14);
}

static void answer_short(h2o_req_t *req)
{
    send_pieces(req, 200, H2O_SEND_STATE_FINAL, 15);
}

static void answer_long(h2o_req_t *req)
{
    send_pieces(req, 200, H2O_SEND_STATE_FINAL, 13);
}

static void answer_error(h2o_req_t *req)
{
    send_pieces(req, 200, H2O_SEND_STATE_ERROR, SIZE_MAX);
}

static void answer_204(h2o_req_t *req)
{
    req->res.content_length = 15;
    send_text(req, 204, "no body, please");
}

static void answer_304(h2o_req_t *req)
{
    send_text(req, 304, "no body, please");
}

static void answer_empty(h2o_req_t *req)
{
    send_text(req, 200, "");
}

static void answer_own(h2o_req_t *req)
{
    fixture->answer(req);
}

static const struct {
    const char *path;
    void (*answer)(h2o_req_t *req);
} answers[] = {
    {"/own", answer_own},
    {"/echo", answer_echo},
    {"/stream", answer_stream},
    {"/stream-end", answer_stream_end},
    {"/stream404", answer_stream404},
    {"/sized", answer_sized},
    {"/short", answer_short},
    {"/long", answer_long},
    {"/error", answer_error},
    {"/big", send_big},
    {"/ticks", send_ticks},
    {"/inform", inform},
    {"/wait", wait_for_test},
    {"/204", answer_204},
    {"/304", answer_304},
    {"/empty", answer_empty},
};

static int on_req(h2o_handler_t *self, h2o_req_t *req)
{
    h2o_req_t **ended = h2o_mem_alloc_shared(&req->pool, sizeof(h2o_req_t *), count_end);
    void (*answer)(h2o_req_t *) = answer_hello;

    (void)self;
    *ended = req;
    note_request(req);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (h2o_memis(req->path_normalized.base, req->path_normalized.len, answers[i].path,
                      strlen(answers[i].path)))
            answer = answers[i].answer;
    if (fixture->refusal != 0)
        send_text(req, fixture->refusal, "refused");
    else
        answer(req);
    return 0;
}

/* ---- life ---- */

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    fixture = f;
    sky_log_set_level(SKY_LOG_ERROR);
    f->config.limits.request_line = 1024;
    f->config.limits.header = 4096;
    f->config.limits.header_fields = 20;
    f->config.limits.body = 1 << 20;
    f->config.buffer.memory = 8192;
    static char directory[] = "/tmp";
    f->config.buffer.directory = directory;
    f->config.timeouts.idle_ms = f->config.timeouts.header_ms = 60000;
    f->config.timeouts.body_ms = f->config.timeouts.write_ms = 60000;
}

static void fixture_start(struct fixture *f)
{
    sky_site_init(&f->site);
    h2o_handler_t *handler = h2o_create_handler(f->site.path, sizeof *handler);
    handler->on_req = on_req;
    h2o_context_init(&f->ctx, h2o_evloop_create(), &f->site.globalconf);
    f->front = sky_front_new(&f->ctx, f->site.globalconf.hosts, &f->config, &f->counters);
}

static void fixture_fini(struct fixture *f)
{
    h2o_loop_t *loop = f->ctx.loop;

    sky_front_destroy(f->front);
    h2o_context_dispose(&f->ctx);
    h2o_evloop_destroy(loop);
    sky_site_fini(&f->site);
}

int fixture_set_up(void **state, uint32_t idle_ms, uint32_t head_ms, uint32_t body_ms,
                   uint32_t write_ms)
{
    struct fixture *f = calloc(1, sizeof *f);

    fixture_init(f);
    f->config.timeouts.idle_ms = idle_ms;
    f->config.timeouts.header_ms = head_ms;
    f->config.timeouts.body_ms = body_ms;
    f->config.timeouts.write_ms = write_ms;
    fixture_start(f);
    *state = f;
    return 0;
}

int fixture_tear_down(void **state)
{
    fixture_fini(*state);
    free(*state);
    return 0;
}

void turn(void)
{
    h2o_evloop_run(fixture->ctx.loop, 5);
}

/* ---- clients ---- */

static struct client client_of(int ours, int theirs)
{
    fcntl(ours, F_SETFL, O_NONBLOCK);
    sky_front_accept(fixture->front,
                     h2o_evloop_socket_create(fixture->ctx.loop, theirs,
                                              H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION));
    return (struct client){.fd = ours, .heard = calloc(1, 1)};
}

struct client client_open(void)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return client_of(fds[0], fds[1]);
}

struct client client_dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), ours = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(ours, (struct sockaddr *)&address, len), 0);
    int theirs = accept(listener, NULL, NULL);
    assert_int_not_equal(theirs, -1);
    close(listener);
    return client_of(ours, theirs);
}

void client_close(struct client *client)
{
    if (client->fd != -1)
        close(client->fd);
    free(client->heard);
    *client = (struct client){.fd = -1};
}

void say_bytes(struct client *client, const char *bytes, size_t len)
{
    unsigned stuck = 0;

    while (len != 0) {
        ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
            stuck = 0;
        } else if (errno != EAGAIN) {
            return; /* the front has closed; what it said is still to be heard */
        } else if (++stuck > 200) {
            fail_msg("the front does not read");
        }
        turn();
    }
}

void say(struct client *client, const char *text)
{
    say_bytes(client, text, strlen(text));
}

static void drop_dates(struct client *client)
{
    char *date;

    while ((date = strstr(client->heard, "Date: ")) != NULL) {
        char *end = strstr(date, "\r\n");
        if (end == NULL)
            return;
        size_t rest = client->len - (size_t)(end + 2 - client->heard);
        memmove(date, end + 2, rest + 1);
        client->len = (size_t)(date - client->heard) + rest;
    }
}

bool listen_once(struct client *client)
{
    char bytes[65536];
    ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);

    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        client->ended = true;
        client->reset = got < 0;
        return false;
    }
    client->heard = realloc(client->heard, client->len + (size_t)got + 1);
    memcpy(client->heard + client->len, bytes, (size_t)got);
    client->len += (size_t)got;
    client->heard[client->len] = '\0';
    return true;
}

static bool heard(struct client *client, const char *text)
{
    while (listen_once(client))
        ;
    drop_dates(client);
    return strstr(client->heard, text) != NULL || client->ended;
}

void hear(struct client *client, const char *text)
{
    for (unsigned turns = 0; !heard(client, text) && turns < 2000; turns++)
        turn();
    char *at = strstr(client->heard, text);
    if (at == NULL)
        fail_msg("heard: %s\nnot: %s", client->heard, text);
    if (at != client->heard)
        fail_msg("heard first: %s\nbefore: %s", client->heard, text);
    client->len -= strlen(text);
    memmove(client->heard, client->heard + strlen(text), client->len + 1);
}

static bool is_ended(struct client *client)
{
    while (listen_once(client))
        ;
    return client->ended;
}

void hear_end(struct client *client)
{
    until(is_ended(client));
    drop_dates(client);
    if (client->len != 0)
        fail_msg("heard at the end: %s", client->heard);
}

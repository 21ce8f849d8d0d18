/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/exchange_bench.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/exchange.h"
#include "proxy/http1_front.h"
#include "proxy/upstream.h"

#define PATIENCE_S 10

/* --- a trace that takes notes --- */

struct sky_trace {
    struct notes notes;
    char lines[128];
};

#define MAX_ENDED 256

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct sky_trace *under_way;
static struct notes ended[MAX_ENDED];
static int ended_count;

struct sky_trace *sky_trace_begin(struct sky_worker *worker, h2o_req_t *req)
{
    (void)worker;
    if (h2o_memis(req->path.base, req->path.len, H2O_STRLIT("/untraced")))
        return NULL;
    struct sky_trace *trace = calloc(1, sizeof(*trace));
    pthread_mutex_lock(&mutex);
    trace->notes.begun = 1;
    under_way = trace;
    pthread_mutex_unlock(&mutex);
    return trace;
}

struct sky_text sky_trace_attempt(struct sky_trace *trace, const struct sky_address *server)
{
    pthread_mutex_lock(&mutex);
    trace->notes.attempts++;
    snprintf(trace->notes.address, sizeof(trace->notes.address), "%s", server->text);
    pthread_mutex_unlock(&mutex);
    int len =
        snprintf(trace->lines, sizeof(trace->lines), "sw8: attempt-%d\r\n", trace->notes.attempts);
    return sky_text(trace->lines, (size_t)len);
}

void sky_trace_sent(struct sky_trace *trace)
{
    pthread_mutex_lock(&mutex);
    trace->notes.sent++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

void sky_trace_answered(struct sky_trace *trace)
{
    pthread_mutex_lock(&mutex);
    trace->notes.answered++;
    pthread_mutex_unlock(&mutex);
}

void sky_trace_stitch(struct sky_trace *trace, struct sky_text value, size_t count)
{
    pthread_mutex_lock(&mutex);
    trace->notes.stitched++;
    trace->notes.stitch_count = count;
    snprintf(trace->notes.stitch, sizeof(trace->notes.stitch), "%.*s", (int)value.len, value.base);
    pthread_mutex_unlock(&mutex);
}

void sky_trace_stitch_data(struct sky_trace *trace, struct sky_text value, size_t count)
{
    (void)value;
    pthread_mutex_lock(&mutex);
    trace->notes.stitch_data_count = count;
    pthread_mutex_unlock(&mutex);
}

void sky_trace_end(struct sky_trace *trace, const struct sky_trace_outcome *outcome)
{
    pthread_mutex_lock(&mutex);
    trace->notes.ended++;
    trace->notes.outcome = *outcome;
    if (outcome->failure != NULL)
        snprintf(trace->notes.failure, sizeof(trace->notes.failure), "%s", outcome->failure);
    assert(ended_count < MAX_ENDED);
    ended[ended_count++] = trace->notes;
    if (under_way == trace)
        under_way = NULL;
    free(trace);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

bool sky_trace_strips(const struct sky_worker *worker, const h2o_req_t *req,
                      const struct sky_trace *trace, struct sky_text name)
{
    (void)worker;
    (void)req;
    (void)trace;
    return sky_text_starts(name, SKY_TEXT("sw8"));
}

struct notes bench_notes(int n)
{
    struct timespec deadline;
    struct notes notes = {0};

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&mutex);
    while (ended_count < n && pthread_cond_timedwait(&changed, &mutex, &deadline) == 0)
        ;
    bool found = ended_count >= n;
    if (found)
        notes = ended[n - 1];
    pthread_mutex_unlock(&mutex);
    assert_true(found);
    return notes;
}

struct notes bench_notes_now(void)
{
    struct notes notes = {0};

    pthread_mutex_lock(&mutex);
    if (under_way != NULL)
        notes = under_way->notes;
    pthread_mutex_unlock(&mutex);
    return notes;
}

uint64_t bench_counter(struct bench *bench, enum sky_counter counter)
{
    return sky_counter_read(&bench->worker.counters, counter);
}

/* --- the loop --- */

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct bench *bench = listener->data;
    h2o_socket_t *sock = err == NULL ? h2o_evloop_socket_accept(listener) : NULL;

    if (sock != NULL)
        sky_front_accept(bench->worker.front, sock);
}

/* The thread is kept after its loop: what libh2o holds for reuse in thread-local lists would count
 * as leaked when it ended, and the same goes for real leaks if that were suppressed. */
static void *run(void *arg)
{
    struct bench *bench = arg;

    while (!bench->stop)
        h2o_evloop_run(bench->worker.ctx.loop, 5);
    sem_post(&bench->stopped);
    for (;;)
        pause();
    return NULL;
}

static int listen_tcp(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(*address);

    *address = (struct sockaddr_in){.sin_family = AF_INET};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static void listen_app(struct bench *bench, bool unix_socket)
{
    struct sky_address *server = &bench->servers[bench->first_server != NULL ? 1 : 0];
    char text[128];

    if (!unix_socket) {
        struct sockaddr_in *in = (struct sockaddr_in *)&server->sockaddr;
        bench->app_fd = listen_tcp(in);
        snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(in->sin_port));
    } else {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        snprintf(bench->unix_path, sizeof(bench->unix_path), "/tmp/sky-exchange-test.%d.sock",
                 (int)getpid());
        unlink(bench->unix_path);
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", bench->unix_path);
        bench->app_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(bench->app_fd, (struct sockaddr *)&un, sizeof(un)), 0);
        assert_int_equal(listen(bench->app_fd, 0), 0);
        snprintf(text, sizeof(text), "unix:%s", bench->unix_path);
    }
    assert_null(sky_address_parse(text, server));
}

static void set_default(uint32_t *value, uint32_t ms)
{
    if (*value == 0)
        *value = ms;
}

static void set_up_config(struct bench *bench)
{
    struct sky_config *config = &bench->config;

    bench->upstream =
        (struct sky_upstream_config){.name = (char *)(uintptr_t) "app",
                                     .servers = bench->servers,
                                     .server_count = bench->first_server != NULL ? 2 : 1};
    if (bench->first_server != NULL)
        assert_null(sky_address_parse(bench->first_server, &bench->servers[0]));
    bench->route = (struct sky_route_config){
        .path = (char *)(uintptr_t)(bench->route_path != NULL ? bench->route_path : "/"),
        .upstream = &bench->upstream};
    config->upstreams = &bench->upstream;
    config->upstream_count = 1;
    config->routes = &bench->route;
    config->route_count = 1;
    assert_null(sky_trust_parse("private", &config->forwarded.trust));
    config->limits.request_line = 8192;
    config->limits.header = 65536;
    config->limits.header_fields = 90;
    if (config->limits.body == 0)
        config->limits.body = (size_t)1 << 30;
    config->buffer.memory = 1 << 20;
    config->buffer.directory = (char *)(uintptr_t) "/tmp";
    set_default(&config->timeouts.header_ms, 10000);
    set_default(&config->timeouts.body_ms, 10000);
    set_default(&config->timeouts.write_ms, 10000);
    set_default(&config->timeouts.idle_ms, 10000);
    set_default(&config->timeouts.connect_ms, 10000);
    set_default(&config->timeouts.response_ms, 10000);
    set_default(&config->timeouts.upstream_idle_ms, 1000);
}

void bench_start(struct bench *bench, bool unix_socket)
{
    struct sky_worker *worker = &bench->worker;
    struct sockaddr_in address;

    ended_count = 0;
    listen_app(bench, unix_socket);
    set_up_config(bench);
    bench->listen_fd = listen_tcp(&address);
    sky_site_init(&bench->site);
    sky_exchange_register(bench->site.path);
    h2o_context_init(&worker->ctx, h2o_evloop_create(), &bench->site.globalconf);
    worker->config = &bench->config;
    worker->front = sky_front_new(&worker->ctx, bench->site.globalconf.hosts, &bench->config,
                                  &worker->counters);
    worker->upstreams = h2o_mem_alloc(sizeof(*worker->upstreams));
    worker->upstreams[0] =
        sky_upstream_new(&worker->ctx, &bench->upstream, &bench->config, &worker->counters);
    bench->listener = h2o_evloop_socket_create(worker->ctx.loop, dup(bench->listen_fd),
                                               H2O_SOCKET_FLAG_DONT_READ);
    bench->listener->data = bench;
    h2o_socket_read_start(bench->listener, on_accept);
    sem_init(&bench->stopped, 0, 0);
    assert_int_equal(pthread_create(&bench->thread, NULL, run, bench), 0);
    pthread_detach(bench->thread);
}

void bench_stop(struct bench *bench)
{
    struct sky_worker *worker = &bench->worker;
    h2o_loop_t *loop = worker->ctx.loop;

    bench->stop = true;
    sem_wait(&bench->stopped);
    sem_destroy(&bench->stopped);
    h2o_socket_close(bench->listener);
    sky_front_destroy(worker->front);
    sky_upstream_destroy(worker->upstreams[0]);
    free(worker->upstreams);
    h2o_context_dispose(&worker->ctx);
    h2o_evloop_destroy(loop);
    sky_site_fini(&bench->site);
    sky_trust_fini(&bench->config.forwarded.trust);
    sky_address_fini(&bench->servers[0]);
    sky_address_fini(&bench->servers[1]);
    close(bench->listen_fd);
    if (bench->app_fd != -1)
        close(bench->app_fd);
    if (bench->unix_path[0] != '\0')
        unlink(bench->unix_path);
}

/* --- client and app --- */

static int with_patience(int fd)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

void client_connect_by(struct bench *bench, int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    assert_int_equal(getsockname(bench->listen_fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(with_patience(fd), (struct sockaddr *)&address, len), 0);
}

int client_connect(struct bench *bench)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    client_connect_by(bench, fd);
    return fd;
}

int app_accept(struct bench *bench)
{
    with_patience(bench->app_fd);
    return with_patience(accept4(bench->app_fd, NULL, NULL, SOCK_CLOEXEC));
}

size_t app_fill_backlog(struct bench *bench, int fds[8])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    size_t count = 0;

    assert_int_equal(getsockname(bench->app_fd, (struct sockaddr *)&address, &len), 0);
    for (; count < 8; ++count) {
        fds[count] = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[count], (struct sockaddr *)&address, len) == -1) {
            assert_int_equal(errno, EAGAIN);
            close(fds[count]);
            return count;
        }
    }
    fail_msg("the backlog takes more and more");
    return 0;
}

void send_bytes(int fd, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes += sent;
        len -= (size_t)sent;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

void *send_in_thread(void *arg)
{
    struct sending *sending = arg;

    with_patience(sending->fd);
    while (sending->len != 0) {
        ssize_t sent = send(sending->fd, sending->bytes, sending->len, MSG_NOSIGNAL);
        if (sent == -1)
            break;
        sending->bytes += sent;
        sending->len -= (size_t)sent;
    }
    return NULL;
}

char *read_exactly(int fd, size_t len)
{
    char *bytes = malloc(len + 1);

    for (size_t have = 0; have < len;) {
        ssize_t got = recv(fd, bytes + have, len - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    bytes[len] = '\0';
    return bytes;
}

/* A growing text. */
struct text {
    char *bytes;
    size_t len;
};

/* One read more; false at the end of the stream, also a hard one. */
static bool read_more(int fd, struct text *text)
{
    text->bytes = realloc(text->bytes, text->len + 65537);
    ssize_t got = recv(fd, text->bytes + text->len, 65536, 0);
    if (got == -1 && errno == EAGAIN)
        fail_msg("nothing came for %d s, only: %.*s", PATIENCE_S, (int)text->len, text->bytes);
    text->len += got > 0 ? (size_t)got : 0;
    text->bytes[text->len] = '\0';
    return got > 0;
}

/* Reads up to the empty line. Returns the bytes of the head, 0 when the stream ended before it. */
static size_t read_head(int fd, struct text *text)
{
    for (;;) {
        const char *end = text->len != 0 ? memmem(text->bytes, text->len, "\r\n\r\n", 4) : NULL;
        if (end != NULL)
            return (size_t)(end - text->bytes) + 4;
        if (!read_more(fd, text))
            return 0;
    }
}

static size_t length_of(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");

    return field != NULL ? strtoul(field + 17, NULL, 10) : SIZE_MAX;
}

char *read_request(int fd)
{
    struct text text = {0};
    size_t head = read_head(fd, &text);

    assert_int_not_equal(head, 0);
    size_t length = length_of(text.bytes);
    while (length != SIZE_MAX && text.len < head + length)
        assert_true(read_more(fd, &text));
    return text.bytes;
}

/* Decodes in place what came so far; true when the last chunk is there. */
static bool decode_chunks(const char *from, char *to, size_t *len)
{
    *len = 0;
    for (;;) {
        char *end;
        size_t size = strtoul(from, &end, 16);
        if (end == from || end[0] != '\r' || end[1] != '\n')
            return false;
        from = end + 2;
        if (size == 0)
            return strncmp(from, "\r\n", 2) == 0;
        if (strnlen(from, size + 2) < size + 2)
            size = strnlen(from, size);
        memmove(to + *len, from, size);
        *len += size;
        from += size;
        if (strncmp(from, "\r\n", 2) != 0)
            return false;
        from += 2;
    }
}

static char *read_chunked(int fd, struct text *text, size_t head, bool *cut)
{
    bool whole = false;

    while (!(whole = strstr(text->bytes + head, "0\r\n\r\n") != NULL) && read_more(fd, text))
        ;
    size_t len = 0;
    char *raw = strdup(text->bytes + head);
    *cut = !decode_chunks(raw, text->bytes + head, &len) || !whole;
    free(raw);
    text->bytes[head + len] = '\0';
    return text->bytes;
}

static bool has_body(const char *head)
{
    int status = status_of(head);
    return status >= 200 && status != 204 && status != 304;
}

char *read_response(int fd, bool *cut)
{
    struct text text = {0};
    size_t head = read_head(fd, &text);

    *cut = head == 0;
    if (head == 0 || !has_body(text.bytes))
        return text.bytes;
    if (strcasestr(text.bytes, "\r\nTransfer-Encoding: chunked\r\n") != NULL)
        return read_chunked(fd, &text, head, cut);
    size_t length = length_of(text.bytes);
    while (length == SIZE_MAX || text.len < head + length)
        if (!read_more(fd, &text))
            break;
    *cut = length != SIZE_MAX && text.len < head + length;
    return text.bytes;
}

char *read_head_response(int fd)
{
    struct text text = {0};

    assert_int_not_equal(read_head(fd, &text), 0);
    return text.bytes;
}

char *read_eof(int fd)
{
    struct text text = {0};

    while (read_more(fd, &text))
        ;
    return text.bytes;
}

void wait_closed(int fd)
{
    free(read_eof(fd));
}

const char *body_of(const char *response)
{
    return strstr(response, "\r\n\r\n") + 4;
}

int status_of(const char *response)
{
    return atoi(response + 9);
}

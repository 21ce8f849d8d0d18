/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/exchange_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/back/upstream.h"
#include "proxy/exchange/exchange.h"
#include "proxy/front/http1_front.h"

#define PATIENCE_S 10 /* as exchange_peers.c */

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
static void (*attempt_hook)(void *arg);
static void *attempt_arg;

void bench_on_attempt(void (*hook)(void *arg), void *arg)
{
    pthread_mutex_lock(&mutex);
    attempt_hook = hook;
    attempt_arg = arg;
    pthread_mutex_unlock(&mutex);
}

struct sky_trace *sky_trace_begin(struct sky_worker *worker, h2o_req_t *req,
                                  struct sky_route_sampling *sampling)
{
    (void)sampling;
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
    if (attempt_hook != NULL)
        attempt_hook(attempt_arg);
    attempt_hook = NULL;
    pthread_mutex_unlock(&mutex);
    int len =
        snprintf(trace->lines, sizeof(trace->lines), "sw8: attempt-%d\r\n", trace->notes.attempts);
    return sky_text(trace->lines, (size_t)len);
}

void sky_trace_queued(struct sky_trace *trace)
{
    (void)trace;
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

void sky_trace_names(const struct sky_trace *trace, struct sky_trace_names *names)
{
    (void)trace;
    *names = (struct sky_trace_names){0};
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

bool sky_trace_strips(const struct sky_config *config, const h2o_req_t *req,
                      const struct sky_trace *trace, struct sky_text name)
{
    (void)config;
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

    while (!bench->stop) {
        h2o_evloop_run(bench->worker.ctx.loop, 5);
        for (bench->held = bench->hold; bench->hold;)
            sched_yield();
    }
    sem_post(&bench->stopped);
    for (;;)
        pause();
    return NULL;
}

void bench_hold(struct bench *bench)
{
    bench->held = false;
    bench->hold = true;
    while (!bench->held)
        sched_yield();
}

void bench_resume(struct bench *bench)
{
    bench->hold = false;
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
    struct sky_address *server = &bench->servers[bench->first_server != NULL ? 1 : 0].address;
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

    bench->servers[0].weight = bench->servers[1].weight = 1;
    bench->upstream =
        (struct sky_upstream_config){.name = (char *)(uintptr_t) "app",
                                     .servers = bench->servers,
                                     .server_count = bench->first_server != NULL ? 2 : 1};
    if (bench->first_server != NULL)
        assert_null(sky_address_parse(bench->first_server, &bench->servers[0].address));
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
    set_default(&config->timeouts.tunnel_idle_ms, 60000);
}

struct bench *bench_new(void)
{
    return calloc(1, sizeof(struct bench));
}

struct bench *bench_started(bool unix_socket)
{
    struct bench *bench = bench_new();

    bench_start(bench, unix_socket);
    return bench;
}

void bench_start(struct bench *bench, bool unix_socket)
{
    struct sky_worker *worker = &bench->worker;
    struct sockaddr_in address;

    ended_count = 0;
    listen_app(bench, unix_socket);
    set_up_config(bench);
    bench->listen_fd = listen_tcp(&address);
    if (bench->small_buffers) { /* accepted sockets inherit it */
        int small = 4096;
        setsockopt(bench->listen_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    sky_site_init(&bench->site);
    sky_exchange_register(bench->site.path);
    h2o_context_init(&worker->ctx, h2o_evloop_create(), &bench->site.globalconf);
    worker->config = &bench->config;
    bench->tenure = (struct sky_tenure){.config = &bench->config,
                                        .upstreams = bench->upstreams,
                                        .users = 1,
                                        .ended = &bench->ended};
    worker->tenure = &bench->tenure;
    sky_tunnels_init(&worker->tunnels, worker->ctx.loop, bench->config.timeouts.tunnel_idle_ms,
                     &worker->counters);
    worker->front = sky_front_new(&worker->ctx, bench->site.globalconf.hosts, &bench->config,
                                  &worker->counters);
    bench->roster = sky_roster_new(&bench->upstream, 1);
    bench->upstreams[0] =
        sky_upstream_new(&worker->ctx, bench->roster, 0, &bench->config, &worker->counters);
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
    sky_tunnels_fini(&worker->tunnels);
    assert_int_equal(bench->tenure.users, 1); /* what has ended holds nothing */
    sky_upstream_destroy(bench->upstreams[0]);
    sky_roster_destroy(bench->roster);
    h2o_context_dispose(&worker->ctx);
    h2o_evloop_destroy(loop);
    sky_site_fini(&bench->site);
    sky_trust_fini(&bench->config.forwarded.trust);
    sky_address_fini(&bench->servers[0].address);
    sky_address_fini(&bench->servers[1].address);
    close(bench->listen_fd);
    if (bench->app_fd != -1)
        close(bench->app_fd);
    if (bench->unix_path[0] != '\0')
        unlink(bench->unix_path);
    free(bench);
}

struct notes bench_expect_failure(struct bench *bench, int client, enum sky_failure failure, int n)
{
    const struct sky_failure_info *info = sky_failure_info(failure);
    bool cut;
    char *response = read_response(client, &cut);

    assert_false(cut);
    assert_int_equal(status_of(response), info->status);
    assert_non_null(strstr(body_of(response), info->page));
    assert_non_null(strstr(body_of(response), info->advice));
    assert_int_equal(strstr(response, "\r\nRetry-After: 1\r\n") != NULL, info->status == 503);
    free(response);
    struct notes notes = bench_notes(n);
    assert_string_equal(notes.failure, info->text);
    assert_int_equal(notes.outcome.status, info->status);
    assert_false(notes.outcome.client_gone);
    assert_false(notes.outcome.cut);
    assert_int_equal(notes.ended, 1);
    assert_true(bench_counter(bench, info->counter) >= 1);
    return notes;
}

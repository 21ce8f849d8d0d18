/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: reporter, listeners, workers and admin page are made; nothing runs before everything
 * could be made; then the main thread's loop waits for a signal. TERM: workers stop (running
 * requests finish), then the reporter flushes, while the admin page goes on answering.
 *
 * Failures: whatever cannot be made ends the start with one line and status 1; a second TERM or
 * QUIT ends the process at once. */
#include "proxy/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "proxy/access/access_log.h"
#include "proxy/admin/admin.h"
#include "proxy/back/check.h"
#include "proxy/config/config_reporter.h"
#include "proxy/exchange/exchange.h"
#include "proxy/front/http1_front.h"
#include "proxy/front/tls.h"
#include "proxy/limit/connection_limit.h"
#include "proxy/limit/rate_limit.h"
#include "proxy/process/instance_event.h"
#include "proxy/route/route_rules.h"
#include "proxy/trace/identity.h"
#include "reporter/log.h"
#include "reporter/spool/folder.h"

static enum sky_protocol protocol_of(const struct sky_config *config)
{
    switch (config->reporter.protocol) {
    case SKY_CONFIG_PROTOCOL_GRPC:
        return SKY_PROTOCOL_GRPC;
    case SKY_CONFIG_PROTOCOL_HTTP:
        return SKY_PROTOCOL_HTTP;
    case SKY_CONFIG_PROTOCOL_KAFKA:
        return SKY_PROTOCOL_KAFKA;
    case SKY_CONFIG_PROTOCOL_LOCAL:
        return SKY_PROTOCOL_LOCAL;
    case SKY_CONFIG_PROTOCOL_AUTO:
        break;
    }
    return config->reporter.backends.count != 0 ? SKY_PROTOCOL_GRPC : SKY_PROTOCOL_LOCAL;
}

static struct sky_reporter *make_reporter(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    struct sky_identity *identity = &server->identity;
    sky_identity_init(identity, config);
    enum sky_protocol protocol = protocol_of(config);
    bool kafka = protocol == SKY_PROTOCOL_KAFKA;
    const char *const *brokers = (const char *const *)&config->reporter.kafka.brokers;
    bool local = config->local.enabled == SKY_SWITCH_ON ||
                 (config->local.enabled == SKY_SWITCH_AUTO && protocol == SKY_PROTOCOL_LOCAL);
    return sky_reporter_new(&(struct sky_reporter_options){
        .protocol = protocol,
        .backends = kafka ? brokers : (const char *const *)config->reporter.backends.items,
        .backend_count = kafka ? 1 : config->reporter.backends.count,
        .authentication = config->reporter.authentication,
        .tls = sky_config_backend_tls(config),
        .kafka = sky_config_kafka(config),
        .drops_unclear = config->reporter.on_unclear == SKY_UNCLEAR_DROP,
        .gzip = config->reporter.gzip,
        .spool = {.path = config->reporter.spool.path,
                  .max_bytes = config->reporter.spool.max,
                  .rate_bytes = config->reporter.spool.rate,
                  .sync = config->reporter.spool.sync},
        .service = config->agent.service,
        .instance = config->agent.instance,
        .properties = identity->properties,
        .property_count = identity->count,
        .worker_count = config->workers,
        .memory_bytes = config->reporter.memory,
        .batch_bytes = config->reporter.batch_max,
        .batch_interval_ms = config->reporter.batch_interval_ms,
        .heartbeat_ms = config->reporter.heartbeat_ms,
        .properties_every = config->reporter.properties_every,
        .on_tick = sky_process_report_tick,
        .tick_data = &server->process_report,
        .local_enabled = local,
        .local_bytes = config->local.max,
    });
}

static bool make_reporting(struct sky_server *server)
{
    server->reporter = make_reporter(server);
    if (server->reporter == NULL)
        return false;
    server->processes = sky_processes_new(server->config, server->reporter);
    server->process_report = (struct sky_process_report){
        .config = server->config, .identity = &server->identity, .processes = server->processes};
    sky_process_report_init(&server->process_report, sky_processes_now_ms());
    return server->processes != NULL;
}

/* Each proxied request holds two descriptors; the soft limit of 1024 is far below what one serves.
 */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* What the workers' clients share. */
static int make_limits(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    struct rlimit descriptors = {.rlim_cur = 1024};
    uint32_t max = config->limits.connections;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    if (max == 0)
        max = sky_connection_limit_auto(descriptors.rlim_cur, config->workers);
    else if (max > descriptors.rlim_cur)
        sky_log(SKY_LOG_WARN,
                "limits.connections is %u, and the process may have %llu descriptors only", max,
                (unsigned long long)descriptors.rlim_cur);
    sky_body_budget_init(&server->body_budget, config->limits.buffered_bodies);
    server->connection_limit =
        sky_connection_limit_new(max, config->limits.connections_per_address);
    bool rates = config->rate_limit.requests.rate.count != 0 || config->route_rates;
    if (rates)
        server->rate_limit = sky_rate_limit_new(config->rate_limit.addresses);
    if (server->connection_limit != NULL && (!rates || server->rate_limit != NULL))
        return 0;
    sky_log(SKY_LOG_ERROR, "cannot start: memory is out");
    return -1;
}

/* Waits where the loop must not, then tells it. */
static void *finish(void *arg)
{
    struct sky_server *server = arg;
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_join(server->workers[i]);
    sky_instance_event(server->config, server->reporter, "Shutdown",
                       "skystitch " SKY_VERSION " has stopped", server->began_ms);
    sky_access_log_stop(server->access_log, server->config->timeouts.flush_ms);
    sky_reporter_stop(server->reporter, server->config->timeouts.flush_ms);
    h2o_multithread_message_t *message = h2o_mem_alloc(sizeof(*message));
    *message = (h2o_multithread_message_t){{NULL, NULL}};
    h2o_multithread_send_message(&server->finished_receiver, message);
    return NULL;
}

static void on_finished(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct sky_server *server =
        H2O_STRUCT_FROM_MEMBER(struct sky_server, finished_receiver, receiver);
    h2o_multithread_message_t *message =
        H2O_STRUCT_FROM_MEMBER(h2o_multithread_message_t, link, messages->next);
    h2o_linklist_unlink(&message->link);
    free(message);
    server->finished = true;
}

static void stop(struct sky_server *server)
{
    server->stopping = true;
    server->began_ms = sky_instance_event_now_ms();
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_stop(server->workers[i]);
    if (pthread_create(&server->finisher, NULL, finish, server) != 0)
        _exit(1);
}

static void quit(struct sky_server *server)
{
    sky_log(SKY_LOG_WARN, "quit at once: running requests are cut, unsent segments are lost");
    for (size_t i = 0; i < server->listener_count; ++i)
        sky_listener_close(&server->listeners[i]);
    _exit(0);
}

static void reopen_logs(struct sky_server *server)
{
    if (server->access_log == NULL)
        return;
    sky_log(SKY_LOG_INFO, "log files are opened anew");
    sky_access_log_reopen(server->access_log);
}

static void on_signal_number(struct sky_server *server, uint32_t number)
{
    if (number == SIGUSR1) {
        reopen_logs(server);
        return;
    }
    if (number == SIGHUP && server->stopping)
        return; /* systemd may send it along with TERM */
    if (number == SIGQUIT || server->stopping)
        quit(server);
    sky_log(SKY_LOG_INFO, "stop: listeners close, running requests finish");
    stop(server);
}

static void on_signal(h2o_socket_t *sock, const char *err)
{
    struct sky_server *server = sock->data;
    if (err != NULL)
        return;
    struct signalfd_siginfo info;
    while (sock->input->size >= sizeof(info)) {
        memcpy(&info, sock->input->bytes, sizeof(info));
        h2o_buffer_consume(&sock->input, sizeof(info));
        on_signal_number(server, info.ssi_signo);
    }
}

/* Blocked before any thread starts, so that all inherit it and only signalfd delivers. */
static int block_signals(void)
{
    struct sigaction hangup;
    sigset_t set;
    sigemptyset(&set);
    /* Unless nohup(1) has it ignored: a terminal that goes must not cut requests. */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void on_admin_accept(h2o_socket_t *listener, const char *err)
{
    struct sky_server *server = listener->data;
    if (err != NULL)
        return;
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
    if (sock != NULL) {
        sky_front_accept(server->admin_front, sock);
    } else if (errno == EMFILE || errno == ENFILE) {
        /* the listener would wake the loop until there is one */
        static struct sky_log_limit limit;
        sky_log_limited(&limit, SKY_LOG_ERROR,
                        "admin page: cannot accept a connection: no file descriptors left; raise "
                        "the limit (ulimit -n, LimitNOFILE=)");
        h2o_socket_read_stop(listener);
        h2o_timeout_link(server->ctx.loop, &server->ctx.hundred_ms_timeout, &server->admin_pause);
    }
}

static void on_admin_pause_over(h2o_timeout_entry_t *entry)
{
    struct sky_server *server = H2O_STRUCT_FROM_MEMBER(struct sky_server, admin_pause, entry);
    h2o_socket_read_start(server->admin_sock, on_admin_accept);
}

static int open_admin(struct sky_server *server, int signal_fd)
{
    sky_site_init(&server->admin_site);
    sky_admin_register(server->admin_site.path, server);
    h2o_context_init(&server->ctx, h2o_evloop_create(), &server->admin_site.globalconf);
    h2o_multithread_register_receiver(server->ctx.queue, &server->finished_receiver, on_finished);
    server->signal_sock = h2o_evloop_socket_create(server->ctx.loop, signal_fd, 0);
    server->signal_sock->data = server;
    h2o_socket_read_start(server->signal_sock, on_signal);
    server->admin_front =
        sky_front_new(&server->ctx, server->admin_site.globalconf.hosts, server->config, NULL);
    if (!server->config->admin.enabled)
        return 0;
    char error[256];
    if (sky_listener_open(&server->admin_listener, &server->config->admin.listen, 1, error,
                          sizeof(error)) != 0) {
        sky_log(SKY_LOG_ERROR, "admin.listen: %s; --set admin.listen=off runs without it", error);
        return -1;
    }
    server->admin_sock = h2o_evloop_socket_create(server->ctx.loop, server->admin_listener.fds[0],
                                                  H2O_SOCKET_FLAG_DONT_READ);
    server->admin_listener.fds[0] = -1;
    server->admin_sock->data = server;
    server->admin_pause.cb = on_admin_pause_over;
    h2o_socket_read_start(server->admin_sock, on_admin_accept);
    return 0;
}

static void close_admin(struct sky_server *server)
{
    h2o_timeout_unlink(&server->admin_pause);
    if (server->admin_sock != NULL)
        h2o_socket_close(server->admin_sock);
    sky_listener_close(&server->admin_listener);
    h2o_socket_close(server->signal_sock);
    sky_front_destroy(server->admin_front);
    h2o_multithread_unregister_receiver(server->ctx.queue, &server->finished_receiver);
    h2o_loop_t *loop = server->ctx.loop;
    h2o_context_dispose(&server->ctx);
    h2o_evloop_destroy(loop);
    sky_site_fini(&server->admin_site);
}

static int open_tls(const struct sky_listener_config *config, struct sky_tls **tls)
{
    char error[512];
    *tls = NULL;
    if (config->tls.certificate_count == 0)
        return 0;
    *tls = sky_tls_new(&config->tls, error, sizeof(error));
    if (*tls == NULL) {
        sky_log(SKY_LOG_ERROR, "listen: %s: %s", config->address.text, error);
        return -1;
    }
    sky_front_prepare_tls(sky_tls_context(*tls));
    return 0;
}

static int open_listeners(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    server->listeners = h2o_mem_alloc(config->listener_count * sizeof(*server->listeners));
    for (; server->listener_count < config->listener_count; ++server->listener_count) {
        char error[256];
        struct sky_tls *tls;
        struct sky_listener *listener = &server->listeners[server->listener_count];
        if (open_tls(&config->listeners[server->listener_count], &tls) != 0)
            return -1;
        if (sky_listener_open(listener, &config->listeners[server->listener_count].address,
                              config->workers, error, sizeof(error)) != 0) {
            sky_log(SKY_LOG_ERROR, "listen: %s", error);
            sky_tls_destroy(tls);
            return -1;
        }
        listener->tls = tls;
    }
    return 0;
}

/* Only a warning: a folder may be mounted later, and everything else is served without it. */
static void warn_of_folder(const char *option, const char *folder, int access_mode)
{
    if (access(folder, access_mode) != 0)
        sky_log(SKY_LOG_WARN, "%s: %s: %s", option, folder, strerror(errno));
}

static void warn_of_folders(const struct sky_config *config)
{
    warn_of_folder("buffer.directory", config->buffer.directory, W_OK | X_OK);
    for (size_t i = 0; i < config->route_count; ++i) {
        const struct sky_route_rules *rules = config->routes[i].rules;
        if (rules != NULL && rules->files.folder != NULL)
            warn_of_folder("routes.static", rules->files.folder, X_OK);
    }
}

int sky_server_check(const struct sky_config *config)
{
    int status = 0;
    char error[512];
    warn_of_folders(config);
    if (config->reporter.spool.path[0] != '\0' &&
        !sky_spool_folder_check(config->reporter.spool.path, error, sizeof(error)))
        sky_log(SKY_LOG_WARN, "reporter.spool.path: %s", error);
    for (size_t i = 0; i < config->listener_count; ++i) {
        struct sky_tls *tls;
        if (open_tls(&config->listeners[i], &tls) != 0)
            status = 1;
        sky_tls_destroy(tls);
    }
    return status;
}

static int make_workers(struct sky_server *server)
{
    struct sky_worker_shared shared = {
        .reporter = server->reporter,
        .sampling = &server->sampling,
        .processes = server->processes,
        .access_log = server->access_log,
        .fleet = &server->fleet,
        .body_budget = &server->body_budget,
        .connection_limit = server->connection_limit,
        .rate_limit = server->rate_limit,
    };
    if (!sky_fleet_init(&server->fleet, server->config->upstreams, server->config->upstream_count,
                        server->config->workers + 1)) {
        sky_log(SKY_LOG_ERROR, "memory is out");
        return -1;
    }
    server->workers = h2o_mem_alloc(server->config->workers * sizeof(*server->workers));
    for (; server->worker_count < server->config->workers; ++server->worker_count) {
        struct sky_worker *worker =
            sky_worker_new(server->worker_count, server->config, &server->site, server->listeners,
                           server->listener_count, &shared);
        if (worker == NULL)
            return -1;
        server->workers[server->worker_count] = worker;
    }
    return 0;
}

static int start_threads(struct sky_server *server)
{
    int rc = sky_reporter_start(server->reporter);
    if (rc != 0) {
        sky_log(SKY_LOG_ERROR, "cannot start a thread: %s", strerror(rc));
        return rc;
    }
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_start(server->workers[i]);
    server->checks = sky_checks_new(&server->ctx, &server->fleet, server->config->workers,
                                    server->config, &server->check_counters);
    return 0;
}

static void run_until_finished(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    for (size_t i = 0; i < config->listener_count; ++i)
        sky_log(SKY_LOG_INFO, "skystitch " SKY_VERSION " listens on %s%s for service %s",
                config->listeners[i].address.text,
                config->listeners[i].tls.certificate_count != 0 ? " (TLS)" : "",
                config->agent.service);
    if (config->admin.enabled)
        sky_log(SKY_LOG_INFO, "admin page on %s", config->admin.listen.text);
    sky_instance_event(config, server->reporter, "Start", "skystitch " SKY_VERSION " has started",
                       server->began_ms);
    while (!server->finished)
        h2o_evloop_run(server->ctx.loop, INT32_MAX); /* -1 is EINTR: go on */
    pthread_join(server->finisher, NULL);
    sky_log(SKY_LOG_INFO, "stopped");
}

static void destroy(struct sky_server *server)
{
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_destroy(server->workers[i]);
    free(server->workers);
    sky_checks_destroy(server->checks);
    sky_fleet_fini(&server->fleet);
    for (size_t i = 0; i < server->listener_count; ++i)
        sky_listener_close(&server->listeners[i]);
    free(server->listeners);
    close_admin(server);
    sky_site_fini(&server->site);
    sky_connection_limit_destroy(server->connection_limit);
    sky_rate_limit_destroy(server->rate_limit);
    sky_access_log_destroy(server->access_log);
    sky_reporter_destroy(server->reporter);
    sky_processes_destroy(server->processes);
}

int sky_server_run(const struct sky_config *config)
{
    sky_log_set_level(config->log.level);
    raise_descriptor_limit();
    int signal_fd = block_signals();
    struct sky_server server = {.config = config, .began_ms = sky_instance_event_now_ms()};
    if (signal_fd == -1 || !make_reporting(&server)) {
        sky_log(SKY_LOG_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    sky_site_init(&server.site);
    sky_exchange_register(server.site.path);
    warn_of_folders(config);
    int status = 1;
    if (open_admin(&server, signal_fd) == 0 && open_listeners(&server) == 0 &&
        sky_access_log_open(&server.access_log, config) == 0 && make_limits(&server) == 0 &&
        make_workers(&server) == 0 && start_threads(&server) == 0) {
        run_until_finished(&server);
        status = 0;
    }
    destroy(&server);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: reporter, listeners, workers and admin page are made; nothing runs before everything
 * could be made; then the main thread's loop waits for a signal. TERM: workers stop (running
 * requests finish), then the reporter flushes, while the admin page goes on answering.
 *
 * Failures: whatever cannot be made ends the start with one line and status 1; a second TERM or
 * QUIT ends the process at once. A reload that fails changes nothing: operation/reload.c. */
#include "proxy/server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "proxy/access/access_log.h"
#include "proxy/admin/admin_listener.h"
#include "proxy/back/back_tls.h"
#include "proxy/back/check.h"
#include "proxy/back/resolver.h"
#include "proxy/config/config_reporter.h"
#include "proxy/exchange/exchange.h"
#include "proxy/front/http1_front.h"
#include "proxy/front/tickets.h"
#include "proxy/limit/connection_limit.h"
#include "proxy/limit/rate_limit.h"
#include "proxy/limit/shared_limits.h"
#include "proxy/operation/notify.h"
#include "proxy/operation/pid_file.h"
#include "proxy/operation/privileges.h"
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

/* The workers are there before the reporter's thread, and until it has ended. */
static void sum_workers(const void *data, uint64_t sum[SKY_COUNTER_COUNT])
{
    const struct sky_server *server = data;

    for (size_t i = 0; i < server->worker_count; ++i)
        for (size_t k = 0; k < SKY_COUNTER_COUNT; ++k)
            sum[k] += sky_counter_read(&server->workers[i]->counters, (enum sky_counter)k);
}

static bool make_reporting(struct sky_server *server)
{
    server->reporter = make_reporter(server);
    if (server->reporter == NULL)
        return false;
    server->processes = sky_processes_new(server->config, server->reporter);
    server->process_report = (struct sky_process_report){
        .config = server->config,
        .identity = &server->identity,
        .processes = server->processes,
        .sum_workers = sum_workers,
        .sum_data = server,
    };
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

static void on_replies(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct sky_server *server = H2O_STRUCT_FROM_MEMBER(struct sky_server, replies, receiver);
    while (!h2o_linklist_is_empty(messages)) {
        h2o_multithread_message_t *message =
            H2O_STRUCT_FROM_MEMBER(h2o_multithread_message_t, link, messages->next);
        h2o_linklist_unlink(&message->link);
        free(message);
        sky_reload_on_changed(server);
    }
}

static void stop(struct sky_server *server, const bool *handed_over)
{
    sky_upgrade_cancel(server);
    server->stopping = true;
    sky_listener_set_remove_files(&server->listeners);
    server->began_ms = sky_instance_event_now_ms();
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_stop(server->workers[i], handed_over, server->listeners.count);
    if (pthread_create(&server->finisher, NULL, finish, server) != 0)
        _exit(1);
}

void sky_server_hand_over(struct sky_server *server, const bool *listeners)
{
    sky_listener_set_leave_files(&server->listeners);
    sky_admin_listener_leave(server);
    stop(server, listeners);
}

static void quit(struct sky_server *server)
{
    sky_log(SKY_LOG_WARN, "quit at once: running requests are cut, unsent segments are lost");
    sky_listener_set_close(&server->listeners);
    sky_pid_file_close(server->config, server->pid_fd);
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
    if (number == SIGUSR2) {
        sky_upgrade_begin(server);
        return;
    }
    if (number == SIGHUP) {
        if (!server->stopping) /* systemd may send it along with TERM */
            sky_reload(server);
        return;
    }
    if (number == SIGQUIT || server->stopping)
        quit(server);
    sky_log(SKY_LOG_INFO, "stop: listeners close, running requests finish");
    sky_notify("STOPPING=1");
    stop(server, NULL);
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
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Only a warning: a folder may be mounted later, and everything else is served without it. */
static void warn_of_folder(const char *option, const char *folder, int access_mode)
{
    char inside[PATH_MAX];
    snprintf(inside, sizeof(inside), "%s/.", folder); /* of a file: not a directory */
    if (access(inside, access_mode) != 0)
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
    char error[512];
    warn_of_folders(config);
    if (config->reporter.spool.path[0] != '\0' &&
        !sky_spool_folder_check(config->reporter.spool.path, error, sizeof(error)))
        sky_log(SKY_LOG_WARN, "reporter.spool.path: %s", error);
    bool sound = sky_listener_set_check(config) == 0;
    for (size_t i = 0; i < config->upstream_count; ++i)
        sound &= sky_back_tls_check(&config->upstreams[i]);
    sound &= sky_privileges_check(config);
    return sound ? 0 : 2;
}

static int make_workers(struct sky_server *server)
{
    struct sky_worker_shared shared = {
        .site = &server->site,
        .replies = &server->replies,
        .reporter = server->reporter,
        .sampling = &server->sampling,
        .processes = server->processes,
        .body_budget = &server->body_budget,
        .connection_limit = server->connection_limit,
    };
    server->workers = h2o_mem_alloc(server->config->workers * sizeof(*server->workers));
    for (; server->worker_count < server->config->workers; ++server->worker_count) {
        struct sky_worker *worker = sky_worker_new(
            server->worker_count, sky_reload_plan(server, server->worker_count), &shared);
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
    sky_pid_file_write(config, server->pid_fd);
    sky_listener_set_own_files(&server->listeners); /* nothing can fail any more */
    sky_listener_own_file(&server->admin_listener);
    sky_upgrade_report();
    sky_notify("READY=1\nSTATUS=serving");
    sky_watchdog_start(server);
    while (!server->finished) {
        sky_reload_checks(server);
        h2o_evloop_run(server->ctx.loop, INT32_MAX); /* -1 is EINTR: go on */
    }
    pthread_join(server->finisher, NULL);
    sky_log(SKY_LOG_INFO, "stopped");
}

/* The main thread's loop, with what the others tell it. */
static int open_loop(struct sky_server *server, int signal_fd)
{
    int rc = sky_admin_listener_open(server);
    h2o_multithread_register_receiver(server->ctx.queue, &server->finished_receiver, on_finished);
    h2o_multithread_register_receiver(server->ctx.queue, &server->replies, on_replies);
    server->signal_sock = h2o_evloop_socket_create(server->ctx.loop, signal_fd, 0);
    server->signal_sock->data = server;
    h2o_socket_read_start(server->signal_sock, on_signal);
    return rc;
}

static void close_loop(struct sky_server *server)
{
    sky_drain_end(server);
    sky_watchdog_stop(server);
    h2o_socket_close(server->signal_sock);
    h2o_multithread_unregister_receiver(server->ctx.queue, &server->replies);
    h2o_multithread_unregister_receiver(server->ctx.queue, &server->finished_receiver);
    sky_admin_listener_close(server);
}

static void destroy(struct sky_server *server)
{
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_destroy(server->workers[i]);
    free(server->workers);
    sky_listener_set_close(&server->listeners);
    sky_resolver_destroy(server->resolver);
    sky_checks_destroy(server->checks);
    sky_readiness_destroy(server->readiness);
    sky_generation_release(server->checked);
    close_loop(server);
    sky_pid_file_close(server->config, server->pid_fd);
    sky_site_fini(&server->site);
    sky_connection_limit_destroy(server->connection_limit);
    sky_rate_limit_destroy(server->rate_limit);
    sky_access_log_destroy(server->reload.former_log);
    sky_access_log_destroy(server->access_log);
    sky_reporter_destroy(server->reporter);
    sky_processes_destroy(server->processes);
    sky_generation_release(server->generation);
    sky_generation_release(server->first);
}

static int run(struct sky_server *server, int signal_fd)
{
    sky_site_init(&server->site);
    sky_exchange_register(server->site.path);
    warn_of_folders(server->config);
    int status = 1;
    if (open_loop(server, signal_fd) == 0 &&
        sky_listener_set_open(&server->listeners, server->config, NULL) == 0 &&
        sky_pid_file_open(server->config, &server->pid_fd) == 0 &&
        sky_privileges_drop(server->config) == 0 &&
        sky_access_log_open(&server->access_log, server->config) == 0 &&
        sky_shared_limits_make(server) == 0 && make_workers(server) == 0 &&
        start_threads(server) == 0) {
        run_until_finished(server);
        status = 0;
    }
    destroy(server);
    return status;
}

int sky_server_run(struct sky_config *config, int argc, char **argv, char **environment)
{
    sky_log_set_level(config->log.level);
    sky_tickets_set_period(config->timeouts.ticket_key_ms);
    raise_descriptor_limit();
    int signal_fd = block_signals();
    struct sky_generation *generation = sky_generation_new(config, NULL, NULL);
    if (generation == NULL)
        return 1;
    struct sky_server server = {.generation = generation,
                                .first = sky_generation_hold(generation),
                                .config = config,
                                .argc = argc,
                                .argv = argv,
                                .environment = environment,
                                .pid_fd = -1,
                                .began_ms = sky_instance_event_now_ms(),
                                .reload = {.done_at = (double)time(NULL)}};
    if (signal_fd == -1 || !make_reporting(&server)) {
        sky_log(SKY_LOG_ERROR, "cannot start: %s", strerror(errno));
        return 1;
    }
    return run(&server, signal_fd);
}

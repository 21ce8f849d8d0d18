/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: the sources are read -> certificates, new listeners and a new access log are opened
 * -> the server's pointers move to the new generation -> each worker gets a plan and replies when
 * it has changed -> the last reply ends the reload.
 *
 * A listener that goes is closed before its worker replies: the next reload may open it again. An
 * upgrade that is asked for meanwhile follows.
 *
 * Failures: a defect in the configuration, an option that only a new process can apply, a
 * certificate, an address or a file that cannot be opened: one line each, what was opened for the
 * reload is closed, and the running configuration stays. From the first plan on nothing can fail.
 * TERM in between: workers carry out orders one after the other, and stop then. */
#include "proxy/operation/reload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/access/access_log.h"
#include "proxy/back/check.h"
#include "proxy/back/resolver.h"
#include "proxy/config/config_change.h"
#include "proxy/front/http1_front.h"
#include "proxy/front/tickets.h"
#include "proxy/limit/shared_limits.h"
#include "proxy/operation/notify.h"
#include "proxy/server.h"
#include "reporter/log.h"

/* How long a former log may hold the main thread up; what a reader does not take by then is lost.
 */
#define FORMER_LOG_MS 1000

struct sky_worker_plan *sky_reload_plan(struct sky_server *server, size_t worker_index)
{
    struct sky_worker_plan *plan = sky_worker_plan_new(server->generation);
    plan->rate_limit = server->rate_limit;
    plan->access_pen = sky_access_log_pen(server->access_log, worker_index);
    sky_listener_set_fill(&server->listeners, plan, worker_index);
    return plan;
}

static bool same_fleet(const struct sky_fleet *a, const struct sky_fleet *b)
{
    return a->count == b->count &&
           memcmp(a->rosters, b->rosters, a->count * sizeof(a->rosters[0])) == 0;
}

void sky_reload_checks(struct sky_server *server)
{
    if (server->checks != NULL)
        sky_checks_follow(server->checks);
    if (server->checked == server->generation)
        return;
    if (server->checked != NULL && same_fleet(&server->checked->fleet, &server->generation->fleet))
        return; /* with the count of results so far */
    sky_resolver_destroy(server->resolver);
    sky_checks_destroy(server->checks);
    sky_readiness_destroy(server->readiness);
    sky_generation_release(server->checked);
    server->checked = sky_generation_hold(server->generation);
    server->checks = sky_checks_new(&server->ctx, &server->checked->fleet, server->config->workers,
                                    server->config, &server->check_counters);
    server->resolver =
        sky_resolver_new(&server->ctx, &server->checked->fleet, &server->check_counters);
    server->readiness =
        sky_readiness_new(&server->ctx, &server->checked->fleet, server->config->workers,
                          server->config, &server->check_counters);
}

static void log_lines(char *lines, enum sky_log_level level)
{
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        sky_log(level, "reload: %s", line);
}

static struct sky_config *read_again(const struct sky_server *server)
{
    char *lines = NULL;
    struct sky_config *config = sky_config_load_again(server->argc, server->argv,
                                                      server->environment, server->config, &lines);
    if (lines != NULL)
        log_lines(lines, config != NULL ? SKY_LOG_WARN : SKY_LOG_ERROR);
    free(lines);
    return config;
}

static bool same_log(const struct sky_config *a, const struct sky_config *b)
{
    return strcmp(a->log.access, b->log.access) == 0 && a->log.format == b->log.format &&
           a->log.access_buffer == b->log.access_buffer;
}

/* From here on the server has the new configuration; the workers follow. */
static void take_over(struct sky_server *server, struct sky_generation *generation,
                      struct sky_listener_set *listeners, struct sky_access_log *log)
{
    const struct sky_config *config = generation->config;
    struct sky_generation *former = server->generation;

    server->generation = generation;
    server->config = config;
    sky_listener_set_follow(listeners, &server->listeners);
    if (log != server->access_log) {
        server->reload.former_log = server->access_log;
        server->access_log = log;
    } else if (log != NULL) {
        sky_access_log_reopen(log);
    }
    sky_log_set_level(config->log.level);
    sky_tickets_set_period(config->timeouts.ticket_key_ms);
    sky_shared_limits_change(server);
    sky_front_change(server->admin_front, config);
    server->reload.pending = server->worker_count;
    for (size_t i = 0; i < server->worker_count; ++i) {
        sky_worker_change(server->workers[i], sky_reload_plan(server, i));
    }
    sky_generation_release(former);
}

/* What can fail, so that all is there or nothing is. */
static bool open_all(struct sky_server *server, const struct sky_config *config,
                     struct sky_listener_set *listeners, struct sky_access_log **log)
{
    *log = server->access_log;
    if (!sky_shared_limits_prepare(server, config) ||
        sky_listener_set_open(listeners, config, &server->listeners) != 0)
        return false;
    if (same_log(server->config, config) || sky_access_log_open(log, config) == 0)
        return true;
    sky_listener_set_give_up(listeners);
    return false;
}

static bool try_reload(struct sky_server *server)
{
    struct sky_listener_set listeners;
    struct sky_access_log *log;
    struct sky_config *config = read_again(server);
    if (config == NULL)
        return false;
    size_t *same = sky_config_same_upstreams(server->config, config);
    struct sky_generation *generation = sky_generation_new(config, server->generation, same);
    free(same);
    if (generation != NULL && open_all(server, config, &listeners, &log)) {
        take_over(server, generation, &listeners, log);
        return true;
    }
    sky_generation_release(generation);
    return false;
}

static bool is_possible(const struct sky_server *server)
{
    if (server->draining)
        sky_log(SKY_LOG_ERROR, "reload: this process drains");
    return !server->draining;
}

void sky_reload(struct sky_server *server)
{
    if (server->reload.pending != 0 || server->upgrade.line != NULL) {
        server->reload.again = true;
        sky_log(SKY_LOG_INFO, "reload: follows the %s under way",
                server->upgrade.line != NULL ? "upgrade" : "one");
        return;
    }
    sky_log(SKY_LOG_INFO, "reload: the configuration is read again");
    sky_notify("RELOADING=1\nMONOTONIC_USEC=%" PRIu64, sky_notify_monotonic_us());
    if (is_possible(server) && try_reload(server))
        return;
    server->reload.failed++;
    sky_notify("READY=1\nSTATUS=serving; the last reload was refused");
    sky_log(SKY_LOG_ERROR, "reload: refused; the running configuration stays as it is");
}

static void close_former_log(struct sky_server *server)
{
    struct sky_access_log *log = server->reload.former_log;
    if (log == NULL)
        return;
    sky_access_log_stop(log, FORMER_LOG_MS);
    server->access_lost += sky_access_log_lost(log);
    sky_access_log_destroy(log);
    server->reload.former_log = NULL;
}

void sky_reload_on_changed(struct sky_server *server)
{
    struct timespec now;
    if (--server->reload.pending != 0)
        return;
    close_former_log(server);
    clock_gettime(CLOCK_REALTIME, &now);
    server->reload.done++;
    server->reload.done_at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    sky_log(SKY_LOG_INFO, "reload: done");
    sky_notify("READY=1\nSTATUS=serving");
    sky_reload_resume(server);
    if (server->reload.pending == 0)
        sky_upgrade_resume(server);
}

void sky_reload_resume(struct sky_server *server)
{
    if (!server->reload.again || server->stopping)
        return;
    server->reload.again = false;
    sky_reload(server);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/watchdog.h"

#include "proxy/operation/notify.h"
#include "proxy/server.h"

/* Each worker was asked in the last period, and has answered. */
static bool all_alive(struct sky_server *server)
{
    bool alive = true;
    for (size_t i = 0; i < server->worker_count; ++i)
        alive &= server->workers[i]->beat;
    return alive;
}

static void ask_all(struct sky_server *server)
{
    for (size_t i = 0; i < server->worker_count; ++i)
        if (server->workers[i]->beat)
            sky_worker_ask(server->workers[i]);
}

static void on_period(h2o_timeout_entry_t *entry)
{
    struct sky_server *server = H2O_STRUCT_FROM_MEMBER(struct sky_server, watchdog.timer, entry);
    h2o_timeout_link(server->ctx.loop, &server->watchdog.period, entry);
    if (server->stopping || all_alive(server)) /* a worker that has stopped answers no more */
        sky_notify("WATCHDOG=1");
    if (!server->stopping)
        ask_all(server);
}

void sky_watchdog_start(struct sky_server *server)
{
    struct sky_watchdog *watchdog = &server->watchdog;
    uint32_t period_ms = sky_notify_watchdog_ms();
    if (period_ms == 0)
        return;
    watchdog->runs = true;
    h2o_timeout_init(server->ctx.loop, &watchdog->period, period_ms);
    watchdog->timer.cb = on_period;
    h2o_timeout_link(server->ctx.loop, &watchdog->period, &watchdog->timer);
}

void sky_watchdog_stop(struct sky_server *server)
{
    if (!server->watchdog.runs)
        return;
    h2o_timeout_unlink(&server->watchdog.timer);
    h2o_timeout_dispose(server->ctx.loop, &server->watchdog.period);
}

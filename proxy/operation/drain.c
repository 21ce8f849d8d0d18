/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/drain.h"

#include "proxy/server.h"
#include "reporter/log.h"

static void on_delay_over(h2o_timeout_entry_t *entry)
{
    struct sky_server *server = H2O_STRUCT_FROM_MEMBER(struct sky_server, drain.timer, entry);
    sky_log(SKY_LOG_INFO, "drain: listeners close, running requests finish");
    sky_listener_set_remove_files(&server->listeners);
    for (size_t i = 0; i < server->worker_count; ++i)
        sky_worker_drain(server->workers[i]);
}

void sky_drain_begin(struct sky_server *server)
{
    struct sky_drain *drain = &server->drain;
    if (server->draining || server->stopping)
        return;
    server->draining = true;
    sky_log(SKY_LOG_INFO, "drain: not ready any more");
    h2o_timeout_init(server->ctx.loop, &drain->delay, server->config->timeouts.drain_delay_ms);
    drain->timer.cb = on_delay_over;
    h2o_timeout_link(server->ctx.loop, &drain->delay, &drain->timer);
}

void sky_drain_end(struct sky_server *server)
{
    if (!server->draining)
        return;
    h2o_timeout_unlink(&server->drain.timer);
    h2o_timeout_dispose(server->ctx.loop, &server->drain.delay);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/shared_limits.h"

#include <sys/resource.h>

#include "proxy/limit/connection_limit.h"
#include "proxy/limit/rate_limit.h"
#include "proxy/server.h"
#include "reporter/log.h"

static uint32_t connections_of(const struct sky_config *config)
{
    struct rlimit descriptors = {.rlim_cur = 1024};
    uint32_t max = config->limits.connections;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    if (max == 0)
        return sky_connection_limit_auto(descriptors.rlim_cur, config->workers);
    if (max > descriptors.rlim_cur)
        sky_log(SKY_LOG_WARN,
                "limits.connections is %u, and the process may have %llu descriptors only", max,
                (unsigned long long)descriptors.rlim_cur);
    return max;
}

bool sky_shared_limits_prepare(struct sky_server *server, const struct sky_config *config)
{
    bool rates = config->rate_limit.requests.rate.count != 0 || config->route_rates;
    if (rates && server->rate_limit == NULL)
        server->rate_limit = sky_rate_limit_new(config->rate_limit.addresses);
    if (!rates || server->rate_limit != NULL)
        return true;
    sky_log(SKY_LOG_ERROR, "rate_limit: memory is out");
    return false;
}

int sky_shared_limits_make(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    sky_body_budget_init(&server->body_budget, config->limits.buffered_bodies);
    server->connection_limit =
        sky_connection_limit_new(connections_of(config), config->limits.connections_per_address);
    if (server->connection_limit == NULL)
        sky_log(SKY_LOG_ERROR, "cannot start: memory is out");
    return server->connection_limit != NULL && sky_shared_limits_prepare(server, config) ? 0 : -1;
}

void sky_shared_limits_change(struct sky_server *server)
{
    const struct sky_config *config = server->config;
    sky_body_budget_set_limit(&server->body_budget, config->limits.buffered_bodies);
    sky_connection_limit_set(server->connection_limit, connections_of(config),
                             config->limits.connections_per_address);
}

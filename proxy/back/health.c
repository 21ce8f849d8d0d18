/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/health.h"

#include <inttypes.h>

#include "reporter/log.h"

static uint64_t now_ms(const struct sky_upstream_server *server)
{
    return h2o_now(server->upstream->ctx->loop);
}

bool sky_health_usable(struct sky_upstream_server *server)
{
    _Atomic uint64_t *down_until_ms = &server->share->down_until_ms;

    if (atomic_load_explicit(&server->member->unwell, memory_order_relaxed))
        return false;
    if (*down_until_ms == 0)
        return true;
    if (now_ms(server) < *down_until_ms)
        return false;
    *down_until_ms = 0;
    return true;
}

/* A full backlog is a busy server, a malformed answer a matter of one request. */
static bool counts(enum sky_failure failure)
{
    switch (failure) {
    case SKY_FAILURE_RESOLVE:
    case SKY_FAILURE_REFUSED:
    case SKY_FAILURE_NO_SOCKET:
    case SKY_FAILURE_DENIED:
    case SKY_FAILURE_UNREACHABLE:
    case SKY_FAILURE_CONNECT_TIMEOUT:
    case SKY_FAILURE_TLS_EXPIRED:
    case SKY_FAILURE_TLS_UNKNOWN_CA:
    case SKY_FAILURE_TLS_NAME:
    case SKY_FAILURE_TLS_CERTIFICATE:
    case SKY_FAILURE_TLS_REFUSED:
    case SKY_FAILURE_TLS_HANDSHAKE:
    case SKY_FAILURE_RESPONSE_TIMEOUT:
    case SKY_FAILURE_CLOSED:
        return true;
    default:
        return false;
    }
}

void sky_health_failed(struct sky_upstream_server *server, enum sky_failure failure)
{
    struct sky_upstream *upstream = server->upstream;
    const struct sky_upstream_config *config = upstream->config;
    uint64_t now = now_ms(server);

    if (config->max_fails == 0 || upstream->server_count == 1 || !counts(failure) ||
        server->share->down_until_ms > now)
        return;
    if (server->fails == 0 || now > server->fails_since_ms + config->fail_timeout_ms) {
        server->fails = 0;
        server->fails_since_ms = now;
    }
    if (++server->fails < config->max_fails)
        return;
    server->share->down_until_ms = now + config->fail_timeout_ms;
    server->fails = config->max_fails - 1; /* when it comes back, one more is enough */
    server->fails_since_ms = server->share->down_until_ms;
    sky_count(upstream->counters, SKY_COUNT_upstream_down);
    sky_log(SKY_LOG_WARN, "upstream %s: %s is passed over for %" PRIu32 " ms: %s", config->name,
            server->member->label, config->fail_timeout_ms, sky_failure_info(failure)->text);
}

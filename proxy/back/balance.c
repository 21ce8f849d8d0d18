/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/balance.h"

#include "proxy/back/health.h"

/* Of which servers one is looked for; from best to worst. */
struct round {
    bool backup, unhealthy;
};

static const struct round rounds[] = {{false, false}, {true, false}, {false, true}, {true, true}};

static bool takes_part(struct sky_upstream_server *server, const struct round *round,
                       uint64_t tried)
{
    return server->config->backup == round->backup && (tried & server->bit) == 0 &&
           (round->unhealthy || sky_health_usable(server));
}

/* Cross-multiplied: active / weight. */
static bool is_busier(const struct sky_upstream_server *a, const struct sky_upstream_server *b)
{
    return (uint64_t)a->share->active * b->config->weight >
           (uint64_t)b->share->active * a->config->weight;
}

static bool goes_before(const struct sky_upstream_server *a, const struct sky_upstream_server *b)
{
    if (a->upstream->config->balance == SKY_BALANCE_LEAST_CONN) {
        if (is_busier(a, b))
            return false;
        if (is_busier(b, a))
            return true;
    }
    return a->current > b->current;
}

/* NULL and *full: some take part, and none of them has a place. */
static struct sky_upstream_server *choose_of(struct sky_upstream *upstream,
                                             const struct round *round, uint64_t tried, bool *full)
{
    struct sky_upstream_server *best = NULL;
    int64_t earned = 0;

    for (size_t i = 0; i < upstream->server_count; ++i) {
        struct sky_upstream_server *server = upstream->servers[i];
        if (!takes_part(server, round, tried))
            continue;
        if (sky_member_is_full(server->member)) {
            *full = true;
            continue;
        }
        server->current += server->config->weight;
        earned += server->config->weight;
        if (best == NULL || goes_before(server, best))
            best = server;
    }
    if (best != NULL)
        best->current -= earned;
    return best;
}

static struct sky_upstream_server *choose_once(struct sky_upstream *upstream, uint64_t tried,
                                               bool *full)
{
    struct sky_upstream_server *server = NULL;

    *full = false;
    for (size_t i = 0; server == NULL && !*full && i < sizeof(rounds) / sizeof(rounds[0]); ++i)
        server = choose_of(upstream, &rounds[i], tried, full);
    return server;
}

struct sky_upstream_server *sky_balance_choose(struct sky_upstream *upstream, uint64_t tried,
                                               bool *full)
{
    struct sky_upstream_server *server;

    sky_upstream_follow(upstream);
    if (upstream->server_count == 1 && !upstream->roster->limited) {
        *full = false;
        server = upstream->servers[0];
        return (tried & server->bit) == 0 ? server : NULL;
    }
    /* between the look and the taking another worker may have had the last place */
    do
        server = choose_once(upstream, tried, full);
    while (server != NULL && !sky_member_enter(server->member));
    if (server != NULL)
        *full = false;
    return server;
}

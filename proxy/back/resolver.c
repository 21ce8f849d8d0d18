/* SPDX-License-Identifier: Apache-2.0 */
/* One lookup after the other of each name.
 *
 * Happy path: `resolve` has passed -> the name service answers -> the roster takes the addresses:
 * each is a server of its own, those that are gone get no more requests.
 * Failures: no such name, or no answer: the addresses stay as they are, the log has the reason, and
 * the name is asked for again after a second. A name whose servers keep silent holds one of a few
 * threads of libh2o's for as long as libc is patient; the others are asked for meanwhile. */
#include "proxy/back/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/log.h"

/* When a lookup has failed; `resolve`, if that is less. */
#define RETRY_MS 1000

/* How long the end of the loop waits for a lookup under way. */
#define PATIENCE_MS 500

/* At most; each is made when it is needed, and stays. */
#define THREADS 4

/* Its timeout is a list of one entry, so that each wait has a length of its own. */
struct name {
    struct sky_resolver *all;
    struct sky_roster *roster;
    size_t server; /* of the roster's configuration */
    h2o_timeout_t wait;
    h2o_timeout_entry_t next;
    struct lookup *lookup; /* NULL: none is under way */
};

/* A question to the name service. Its answer comes to the loop whatever has become of the resolver
 * meanwhile. */
struct lookup {
    struct lookup *next;
    struct name *name; /* NULL: it is gone */
    h2o_hostinfo_getaddr_req_t *request;
};

/* Of the main thread's loop. */
static struct lookup *under_way;
static struct {
    h2o_context_t *ctx;
    h2o_timeout_entry_t timer;
    h2o_hostinfo_getaddr_req_t *request; /* NULL: it is answered */
} nudge;

struct sky_resolver {
    h2o_context_t *ctx;
    struct sky_counters *counters;
    struct name *names;
    size_t count;
};

/* --- threads --- */

static void on_nudged(h2o_hostinfo_getaddr_req_t *req, const char *error, struct addrinfo *list,
                      void *arg)
{
    (void)req;
    (void)error;
    (void)list;
    (void)arg;
    nudge.request = NULL;
}

static void end_nudge(void)
{
    if (nudge.request != NULL)
        h2o_hostinfo_getaddr_cancel(nudge.request);
    nudge.request = NULL;
}

/* libh2o makes a thread when a lookup comes and none is idle, and calls idle also one that has work
 * but has not begun it. So of two that come at once the second may wait behind the first, however
 * long that takes, until a third one comes: this one, which takes no time itself. */
static void on_nudge(h2o_timeout_entry_t *entry)
{
    end_nudge();
    if (under_way == NULL)
        return;
    nudge.request = h2o_hostinfo_getaddr(
        &nudge.ctx->receivers.hostinfo_getaddr, h2o_iovec_init(H2O_STRLIT("127.0.0.1")),
        h2o_iovec_init(H2O_STRLIT("0")), AF_INET, SOCK_STREAM, IPPROTO_TCP,
        AI_NUMERICHOST | AI_NUMERICSERV, on_nudged, NULL);
    h2o_timeout_link(nudge.ctx->loop, &nudge.ctx->hundred_ms_timeout, entry);
}

static void nudge_later(h2o_context_t *ctx)
{
    nudge.ctx = ctx;
    nudge.timer.cb = on_nudge;
    if (!h2o_timeout_is_linked(&nudge.timer))
        h2o_timeout_link(ctx->loop, &ctx->hundred_ms_timeout, &nudge.timer);
}

/* --- lookups --- */

static void wait_for_next(struct name *name, uint64_t ms)
{
    name->wait.timeout = ms;
    h2o_timeout_link(name->all->ctx->loop, &name->wait, &name->next);
}

static void end_lookup(struct lookup *lookup)
{
    struct lookup **at = &under_way;

    while (*at != lookup)
        at = &(*at)->next;
    *at = lookup->next;
    if (lookup->name != NULL)
        lookup->name->lookup = NULL;
    free(lookup);
}

static void take_answer(struct name *name, const char *error, const struct addrinfo *list)
{
    static struct sky_log_limit limit;
    const struct sky_upstream_config *config = name->roster->config;
    struct sky_counters *counters = name->all->counters;
    uint64_t next_ms = config->resolve_ms;

    if (error == NULL) {
        sky_count(counters, SKY_COUNT_lookups_answered);
    } else {
        sky_count(counters, SKY_COUNT_lookups_failed);
        sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s: cannot resolve %s: %s", config->name,
                        config->servers[name->server].address.host, error);
        next_ms = next_ms < RETRY_MS ? next_ms : RETRY_MS;
    }
    sky_roster_take_answer(name->roster, name->server, error == NULL ? list : NULL,
                           h2o_now(name->all->ctx->loop));
    wait_for_next(name, next_ms);
}

static void on_answer(h2o_hostinfo_getaddr_req_t *req, const char *error, struct addrinfo *list,
                      void *arg)
{
    struct lookup *lookup = arg;
    struct name *name = lookup->name;

    (void)req;
    end_lookup(lookup);
    if (name != NULL)
        take_answer(name, error, list);
}

static void on_next(h2o_timeout_entry_t *entry)
{
    struct name *name = H2O_STRUCT_FROM_MEMBER(struct name, next, entry);
    const struct sky_address *address = &name->roster->config->servers[name->server].address;
    struct lookup *lookup = h2o_mem_alloc(sizeof(*lookup));
    char port[6];

    *lookup = (struct lookup){.next = under_way, .name = name};
    name->lookup = under_way = lookup;
    snprintf(port, sizeof(port), "%u", address->port);
    lookup->request = h2o_hostinfo_getaddr(
        &name->all->ctx->receivers.hostinfo_getaddr,
        h2o_iovec_init(address->host, strlen(address->host)), h2o_iovec_init(port, strlen(port)),
        AF_UNSPEC, SOCK_STREAM, IPPROTO_TCP, AI_ADDRCONFIG | AI_NUMERICSERV, on_answer, lookup);
    nudge_later(name->all->ctx);
}

static void begin(struct sky_resolver *resolver, struct sky_roster *roster, size_t server)
{
    struct name *name = &resolver->names[resolver->count++];
    const struct sky_roster_name *known = &roster->names[server];
    uint64_t age_ms = h2o_now(resolver->ctx->loop) - known->known_ms;
    uint32_t resolve_ms = roster->config->resolve_ms;

    *name =
        (struct name){.all = resolver, .roster = roster, .server = server, .next = {.cb = on_next}};
    h2o_timeout_init(resolver->ctx->loop, &name->wait, 0);
    wait_for_next(name, known->known_ms != 0 && age_ms < resolve_ms ? resolve_ms - age_ms : 0);
}

static size_t count_names(const struct sky_fleet *fleet)
{
    size_t count = 0;

    for (size_t i = 0; i < fleet->count; ++i)
        count += fleet->rosters[i]->named ? fleet->rosters[i]->config->server_count : 0;
    return count;
}

struct sky_resolver *sky_resolver_new(h2o_context_t *ctx, const struct sky_fleet *fleet,
                                      struct sky_counters *counters)
{
    struct sky_resolver *resolver = h2o_mem_alloc(sizeof(*resolver));

    h2o_hostinfo_max_threads = THREADS;
    *resolver = (struct sky_resolver){.ctx = ctx, .counters = counters};
    resolver->names = h2o_mem_alloc((count_names(fleet) + 1) * sizeof(resolver->names[0]));
    for (size_t i = 0; i < fleet->count; ++i) {
        const struct sky_upstream_config *config = fleet->rosters[i]->config;
        for (size_t k = 0; k < config->server_count; ++k)
            if (sky_address_is_name(&config->servers[k].address))
                begin(resolver, fleet->rosters[i], k);
    }
    return resolver;
}

void sky_resolver_destroy(struct sky_resolver *resolver)
{
    if (resolver == NULL)
        return;
    for (size_t i = 0; i < resolver->count; ++i) {
        struct name *name = &resolver->names[i];
        if (name->lookup != NULL)
            name->lookup->name = NULL;
        h2o_timeout_unlink(&name->next);
        h2o_timeout_dispose(resolver->ctx->loop, &name->wait);
    }
    free(resolver->names);
    free(resolver);
}

void sky_resolver_end(h2o_loop_t *loop)
{
    /* The name service's thread answers to this loop's queue: better that it still exists then. */
    for (int i = 0; under_way != NULL && i < PATIENCE_MS / 10; ++i)
        h2o_evloop_run(loop, 10);
    h2o_timeout_unlink(&nudge.timer);
    end_nudge();
    while (under_way != NULL) {
        h2o_hostinfo_getaddr_cancel(under_way->request);
        end_lookup(under_way);
    }
}

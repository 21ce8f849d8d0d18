/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/resolve.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "reporter/log.h"

/* How long the end of a loop waits for lookups under way. */
#define LOOKUP_PATIENCE_MS 500

/* A question to the name service. Its answer comes to the loop whatever has become of the server
 * meanwhile. */
struct sky_lookup {
    struct sky_lookup *next;
    struct sky_upstream_server *server; /* NULL: it is gone */
    h2o_hostinfo_getaddr_req_t *request;
};

static _Thread_local struct sky_lookup *under_way; /* of this thread's loop */

static bool same_address(const struct sky_upstream_address *known, const struct sockaddr *sockaddr,
                         socklen_t len)
{
    return known->len == len && memcmp(&known->sockaddr, sockaddr, len) == 0;
}

static bool has_address(const struct sky_upstream_server *server, const struct sockaddr *sockaddr,
                        socklen_t len)
{
    for (size_t i = 0; i < server->address_count; ++i)
        if (same_address(&server->addresses[i], sockaddr, len))
            return true;
    return false;
}

/* Name services shuffle: the same addresses in another order are no news. */
static bool is_news(const struct sky_upstream_server *server, const struct addrinfo *list)
{
    size_t count = 0;

    for (; list != NULL && count < SKY_UPSTREAM_MAX_ADDRESSES; list = list->ai_next, ++count)
        if (!has_address(server, list->ai_addr, list->ai_addrlen))
            return true;
    return count != server->address_count;
}

static void take_addresses(struct sky_upstream_server *server, const struct addrinfo *list)
{
    if (!is_news(server, list))
        return;
    server->answers++;
    server->address_count = 0;
    for (; list != NULL && server->address_count < SKY_UPSTREAM_MAX_ADDRESSES;
         list = list->ai_next) {
        struct sky_upstream_address *address = &server->addresses[server->address_count++];
        *address = (struct sky_upstream_address){.len = list->ai_addrlen};
        memcpy(&address->sockaddr, list->ai_addr, list->ai_addrlen);
    }
}

bool sky_resolve_is_current(struct sky_upstream_conn *conn)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);

    if (conn->answers == conn->server->answers)
        return true;
    conn->answers = conn->server->answers;
    return getpeername(h2o_socket_get_fd(conn->sock), (struct sockaddr *)&peer, &len) == 0 &&
           has_address(conn->server, (struct sockaddr *)&peer, len);
}

static void end_lookup(struct sky_lookup *lookup)
{
    struct sky_lookup **at = &under_way;

    while (*at != lookup)
        at = &(*at)->next;
    *at = lookup->next;
    free(lookup);
}

static void on_answer(h2o_hostinfo_getaddr_req_t *req, const char *error, struct addrinfo *list,
                      void *arg)
{
    static struct sky_log_limit limit;
    struct sky_lookup *lookup = arg;
    struct sky_upstream_server *server = lookup->server;

    (void)req;
    end_lookup(lookup);
    if (server == NULL)
        return;
    server->lookup = NULL;
    server->resolved_ms = h2o_now(server->upstream->ctx->loop);
    if (error == NULL)
        take_addresses(server, list);
    else
        sky_log_limited(&limit, SKY_LOG_WARN, "upstream %s: cannot resolve %s: %s",
                        server->upstream->config->name, server->address->host, error);
    server->on_resolved(server);
}

void sky_resolve_start(struct sky_upstream_server *server)
{
    const char *host = server->address->host;
    struct sky_lookup *lookup = h2o_mem_alloc(sizeof(*lookup));
    char port[6];

    snprintf(port, sizeof(port), "%u", server->address->port);
    *lookup = (struct sky_lookup){.next = under_way, .server = server};
    server->lookup = under_way = lookup;
    lookup->request = h2o_hostinfo_getaddr(
        &server->upstream->ctx->receivers.hostinfo_getaddr, h2o_iovec_init(host, strlen(host)),
        h2o_iovec_init(port, strlen(port)), AF_UNSPEC, SOCK_STREAM, IPPROTO_TCP,
        AI_ADDRCONFIG | AI_NUMERICSERV, on_answer, lookup);
}

unsigned sky_resolve_age(const struct sky_upstream_server *server)
{
    uint64_t age_ms = h2o_now(server->upstream->ctx->loop) - server->resolved_ms;
    uint32_t resolve_ms = server->upstream->config->resolve_ms;

    if (server->resolved_for_good)
        return 0;
    if (server->address_count == 0 || age_ms >= 2 * (uint64_t)resolve_ms)
        return 2;
    return age_ms >= resolve_ms;
}

/* Not by the name service (RFC 6761, 6.3), and both: who listens on localhost may mean either. */
static void set_loopback(struct sky_upstream_server *server)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&server->addresses[0].sockaddr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&server->addresses[1].sockaddr;

    in->sin_family = AF_INET;
    in->sin_port = htons(server->address->port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->addresses[0].len = sizeof(*in);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(server->address->port);
    in6->sin6_addr = in6addr_loopback;
    server->addresses[1].len = sizeof(*in6);
    server->address_count = 2;
}

void sky_resolve_init(struct sky_upstream_server *server,
                      void (*on_resolved)(struct sky_upstream_server *server))
{
    const struct sky_address *address = server->address;
    const char *host = address->host;

    server->on_resolved = on_resolved;
    if (host != NULL && (host[0] == '\0' || strcasecmp(host, "localhost") == 0)) {
        set_loopback(server);
    } else if (address->sockaddr_len != 0) {
        server->addresses[0].sockaddr = address->sockaddr;
        server->addresses[0].len = address->sockaddr_len;
        server->address_count = 1;
    }
    server->resolved_for_good = server->address_count != 0;
}

void sky_resolve_fini(struct sky_upstream_server *server)
{
    if (server->lookup != NULL)
        server->lookup->server = NULL;
}

void sky_resolve_end(h2o_loop_t *loop)
{
    /* The name service's thread answers to this loop's queue: better that it still exists then. */
    for (int i = 0; under_way != NULL && i < LOOKUP_PATIENCE_MS / 10; ++i)
        h2o_evloop_run(loop, 10);
    while (under_way != NULL) {
        h2o_hostinfo_getaddr_cancel(under_way->request);
        end_lookup(under_way);
    }
}

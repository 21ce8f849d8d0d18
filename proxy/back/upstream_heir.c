/* SPDX-License-Identifier: Apache-2.0 */
/* An upstream that a reload has changed: what it knows of servers that stay goes to the upstream in
 * its place. */
#include <string.h>

#include "proxy/back/upstream.h"

/* With the age that it has: else reloads would keep a socket that the server gives up. */
static void move_idle(struct sky_upstream_conn *conn, struct sky_upstream_server *heir)
{
    h2o_linklist_unlink(&conn->idle);
    conn->server->idle_count--;
    h2o_timeout_unlink(&conn->idle_timer);
    sky_server_release(conn->server);
    conn->server = sky_server_hold(heir);
    conn->response = &heir->upstream->response;
    h2o_linklist_insert(heir->idle.next, &conn->idle);
    heir->idle_count++;
    h2o_timeout_link(heir->upstream->ctx->loop, &heir->upstream->idle, &conn->idle_timer);
    conn->idle_timer.registered_at = conn->idle_since_ms;
}

/* Whether a connection of the one is good for requests of the other. With TLS another certificate
 * may be asked for now. */
static bool same_wire(const struct sky_upstream *a, const struct sky_upstream *b)
{
    return !a->once && !b->once && a->config->protocol == b->config->protocol &&
           a->roster->tls == NULL && b->roster->tls == NULL;
}

static void hand_over(struct sky_upstream_server *server, struct sky_upstream_server *heir)
{
    heir->fails = server->fails;
    heir->fails_since_ms = server->fails_since_ms;
    heir->share->down_until_ms = server->share->down_until_ms;
    heir->first = server->first;
    if (!same_wire(server->upstream, heir->upstream))
        return;
    /* the oldest first: timers and list stand in that order */
    while (!h2o_linklist_is_empty(&server->idle))
        move_idle(H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, idle, server->idle.prev), heir);
}

void sky_upstream_retire(struct sky_upstream *upstream, struct sky_upstream *heir)
{
    upstream->retired = true;
    for (size_t i = 0; i < upstream->server_count; ++i) {
        struct sky_upstream_server *server = upstream->servers[i];
        for (size_t k = 0; heir != NULL && k < heir->server_count; ++k) {
            if (strcmp(heir->servers[k]->member->label, server->member->label) != 0)
                continue;
            hand_over(server, heir->servers[k]);
            break;
        }
        while (!h2o_linklist_is_empty(&server->idle))
            sky_upstream_close(
                H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, idle, server->idle.next));
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From an answer that switches protocols to the end of the tunnel. */
#include "proxy/back/back_tls.h"
#include "proxy/back/upstream.h"
#include "proxy/exchange/exchange_answer.h"
#include "proxy/exchange/exchange_inside.h"
#include "proxy/front/http1_front.h"

bool sky_exchange_switched(struct sky_exchange *exchange, const struct sky_answer *answer)
{
    if (!sky_exchange_asked_for(sky_front_upgrade(exchange->req), answer->upgrade))
        return false;
    exchange->protocol = answer->upgrade;
    sky_exchange_take_answer(exchange, answer);
    return true;
}

static void on_tunnel_end(struct sky_tunnel *tunnel)
{
    sky_front_end_tunnel(((struct sky_exchange *)tunnel->owner)->req);
}

static ssize_t tls_receive(void *conn, char *bytes, size_t size)
{
    return sky_back_tls_receive(conn, bytes, size);
}

static ssize_t tls_send(void *conn, struct sky_text bytes)
{
    h2o_iovec_t buf = h2o_iovec_init(bytes.base, bytes.len);

    return sky_back_tls_send(conn, &buf, 1);
}

static void tls_shut(void *conn)
{
    sky_back_tls_shut(conn);
}

/* What TLS holds back gives no event of the socket, but one of the connection. */
static void on_app_readable(struct sky_upstream_conn *conn)
{
    sky_tunnel_receive(&((struct sky_tunnel *)conn->owner)->app);
}

static void attach_app(struct sky_tunnel *tunnel, struct sky_upstream_conn *conn)
{
    static const struct sky_tunnel_io tls = {tls_receive, tls_send, tls_shut};

    conn->owner = tunnel;
    conn->on_readable = on_app_readable;
    if (conn->ssl != NULL)
        sky_tunnel_attach(&tunnel->app, conn->sock, &tls, conn);
    else
        sky_tunnel_attach(&tunnel->app, conn->sock, &sky_tunnel_plain, conn->sock);
}

void sky_exchange_open_tunnel(struct sky_exchange *exchange)
{
    struct sky_tunnel *tunnel = h2o_mem_alloc_pool(&exchange->req->pool, sizeof(*tunnel));
    struct sky_text early;

    sky_tunnel_init(tunnel, &exchange->worker->tunnels, on_tunnel_end, exchange);
    if (!sky_front_switch(exchange->req, exchange->protocol, tunnel)) {
        sky_back_cancel(&exchange->back);
        sky_exchange_fail(exchange, SKY_FAILURE_SWITCHED);
        return;
    }
    sky_exchange_move(exchange, SKY_EXCHANGE_TUNNEL);
    exchange->tunnel = tunnel;
    exchange->tunnel_conn = sky_back_detach(&exchange->back, &early);
    attach_app(tunnel, exchange->tunnel_conn);
    sky_tunnel_received(&tunnel->app, early);
    sky_tunnel_start(tunnel);
    if (exchange->tunnel_conn->ssl != NULL)
        sky_back_tls_resume(exchange->tunnel_conn);
}

void sky_exchange_close_tunnel(struct sky_exchange *exchange)
{
    sky_tunnel_fini(exchange->tunnel);
    exchange->req->bytes_sent = exchange->tunnel->app.bytes;
    sky_upstream_close(exchange->tunnel_conn);
}

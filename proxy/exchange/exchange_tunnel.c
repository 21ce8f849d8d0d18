/* SPDX-License-Identifier: Apache-2.0 */
/* From an answer that switches protocols to the end of the tunnel. */
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
    sky_tunnel_attach(&tunnel->app, exchange->tunnel_conn->sock, &sky_tunnel_plain,
                      exchange->tunnel_conn->sock);
    sky_tunnel_received(&tunnel->app, early);
    sky_tunnel_start(tunnel);
}

void sky_exchange_close_tunnel(struct sky_exchange *exchange)
{
    sky_tunnel_fini(exchange->tunnel);
    exchange->req->bytes_sent = exchange->tunnel->app.bytes;
    sky_upstream_close(exchange->tunnel_conn);
}

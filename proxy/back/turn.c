/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/turn.h"

#include "proxy/back/balance.h"

static void hold(struct sky_turn *turn, struct sky_upstream_server *server)
{
    turn->server = server;
    turn->tried |= server->bit;
    server->active++;
}

struct sky_upstream_server *sky_turn_take(struct sky_turn *turn, struct sky_upstream *upstream)
{
    hold(turn, sky_balance_choose(upstream, 0));
    return turn->server;
}

struct sky_upstream_server *sky_turn_next(struct sky_turn *turn)
{
    struct sky_upstream_server *server = sky_balance_choose(turn->server->upstream, turn->tried);

    if (server != NULL) {
        sky_turn_end(turn);
        hold(turn, server);
    }
    return server;
}

void sky_turn_end(struct sky_turn *turn)
{
    if (turn->server == NULL)
        return;
    turn->server->active--;
    turn->server = NULL;
}

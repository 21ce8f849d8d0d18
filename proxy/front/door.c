/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/door.h"

#include <h2o/memory.h>

struct sky_door *sky_door_new(const struct sky_listener_config *config, SSL_CTX *tls)
{
    struct sky_door *door = h2o_mem_alloc(sizeof(*door));

    *door = (struct sky_door){.users = 1};
    sky_door_change(door, config, tls);
    return door;
}

void sky_door_change(struct sky_door *door, const struct sky_listener_config *config, SSL_CTX *tls)
{
    SSL_CTX *before = door->tls;

    if (tls != NULL)
        SSL_CTX_up_ref(tls);
    door->config = config;
    door->tls = tls;
    SSL_CTX_free(before);
}

void sky_door_retire(struct sky_door *door, struct sky_generation *generation)
{
    if (door->generation == NULL)
        door->generation = sky_generation_hold(generation);
}

void sky_door_release(struct sky_door *door)
{
    if (door == NULL || --door->users != 0)
        return;
    SSL_CTX_free(door->tls);
    sky_generation_release(door->generation);
    free(door);
}

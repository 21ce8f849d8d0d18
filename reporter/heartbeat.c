/* SPDX-License-Identifier: Apache-2.0 */
/* Flags of what is due; the sender makes the calls. */
#include "reporter/heartbeat.h"

#include <stdlib.h>

#include "reporter/identity.h"

bool sky_heartbeat_init(struct sky_heartbeat *heartbeat, const struct sky_reporter_options *options,
                        int64_t now_ms)
{
    *heartbeat = (struct sky_heartbeat){
        .period_ms = options->heartbeat_ms > 0 ? options->heartbeat_ms : 1,
        .properties_every = options->properties_every > 0 ? options->properties_every : 1,
        .properties = sky_identity_properties(options),
        .keep_alive = sky_identity_keep_alive(options),
        .next_ms = now_ms,
    };
    return heartbeat->properties != NULL && heartbeat->keep_alive != NULL;
}

void sky_heartbeat_fini(struct sky_heartbeat *heartbeat)
{
    free(heartbeat->properties);
    free(heartbeat->keep_alive);
}

void sky_heartbeat_schedule(struct sky_heartbeat *heartbeat, bool is_substitute, int64_t now_ms)
{
    if (now_ms < heartbeat->next_ms)
        return;
    heartbeat->next_ms = now_ms + heartbeat->period_ms;
    heartbeat->keep_alive_due = true;
    if (heartbeat->beats++ % heartbeat->properties_every == 0)
        heartbeat->properties_due = true;
    heartbeat->probe_due = is_substitute;
}

bool sky_heartbeat_is_due(const struct sky_heartbeat *heartbeat)
{
    return heartbeat->properties_due || heartbeat->keep_alive_due;
}

void sky_heartbeat_renew(struct sky_heartbeat *heartbeat, struct sky_packet *properties)
{
    free(heartbeat->properties);
    heartbeat->properties = properties;
    heartbeat->properties_due = true;
}

bool sky_heartbeat_fill(struct sky_heartbeat *heartbeat, struct sky_call *call, size_t current)
{
    bool is_probe = heartbeat->probe_due && current != 0;
    bool is_properties = heartbeat->properties_due && !is_probe;

    heartbeat->probe_due = is_probe;
    call->kind = is_properties ? SKY_CALL_PROPERTIES : SKY_CALL_KEEP_ALIVE;
    call->backend = is_probe ? 0 : current;
    sky_packets_add(&call->packets, is_properties ? heartbeat->properties : heartbeat->keep_alive);
    return is_probe;
}

/* A collector of traces alone is a backend too: what it does not take is not asked of it again
 * before the next beat. */
void sky_heartbeat_answered(struct sky_heartbeat *heartbeat, const struct sky_call *call)
{
    if (call->kind == SKY_CALL_PROPERTIES)
        heartbeat->properties_due = false;
    else
        heartbeat->keep_alive_due = false;
}

void sky_heartbeat_probed(struct sky_heartbeat *heartbeat, bool is_working)
{
    heartbeat->probe_due = false;
    if (is_working)
        heartbeat->keep_alive_due = false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/generation.h"

#include <stdlib.h>
#include <string.h>

#include "reporter/log.h"

static bool make_roster(struct sky_generation *generation, size_t index,
                        struct sky_generation *former)
{
    const struct sky_upstream_config *upstream = &generation->config->upstreams[index];
    struct sky_roster *roster = sky_roster_new(upstream, generation->config->workers + 1);

    if (roster == NULL) {
        sky_log(SKY_LOG_ERROR, "memory is out");
        return false;
    }
    if (!sky_roster_open_tls(roster)) {
        sky_roster_destroy(roster);
        return false;
    }
    for (size_t i = 0; former != NULL && i < former->fleet.count; ++i)
        if (strcmp(former->config->upstreams[i].name, upstream->name) == 0)
            sky_roster_inherit(roster, former->fleet.rosters[i]);
    generation->fleet.rosters[index] = roster;
    return true;
}

static void share_roster(struct sky_generation *generation, size_t index,
                         struct sky_generation *former, size_t same)
{
    struct sky_generation *origin = former->origins[same];

    generation->fleet.rosters[index] = former->fleet.rosters[same];
    generation->origins[index] = sky_generation_hold(origin != NULL ? origin : former);
}

struct sky_generation *sky_generation_new(struct sky_config *config, struct sky_generation *former,
                                          const size_t *same)
{
    struct sky_generation *generation = h2o_mem_alloc(sizeof(*generation));
    size_t count = config->upstream_count;

    *generation = (struct sky_generation){.config = config, .users = 1};
    generation->fleet.rosters = h2o_mem_alloc(count * sizeof(*generation->fleet.rosters));
    generation->origins = h2o_mem_alloc(count * sizeof(*generation->origins));
    for (; generation->fleet.count < count; ++generation->fleet.count) {
        size_t index = generation->fleet.count;
        generation->origins[index] = NULL;
        if (same != NULL && same[index] != SKY_GENERATION_NEW) {
            share_roster(generation, index, former, same[index]);
        } else if (!make_roster(generation, index, former)) {
            sky_generation_release(generation);
            return NULL;
        }
    }
    return generation;
}

struct sky_generation *sky_generation_hold(struct sky_generation *generation)
{
    atomic_fetch_add_explicit(&generation->users, 1, memory_order_relaxed);
    return generation;
}

void sky_generation_release(struct sky_generation *generation)
{
    /* what other threads did with it happens before it is freed */
    if (generation == NULL ||
        atomic_fetch_sub_explicit(&generation->users, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < generation->fleet.count; ++i) {
        if (generation->origins[i] == NULL)
            sky_roster_destroy(generation->fleet.rosters[i]);
        sky_generation_release(generation->origins[i]);
    }
    free(generation->fleet.rosters);
    free(generation->origins);
    sky_config_destroy(generation->config);
    free(generation);
}

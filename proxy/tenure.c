/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tenure.h"

#include "proxy/back/upstream.h"
#include "proxy/route/folder.h"
#include "proxy/route/route_rules.h"
#include "proxy/worker.h"

/* Pointers of the upstream lead into the configuration that it was made from. */
struct sky_tenure_upstream {
    struct sky_upstream *upstream;
    struct sky_generation *origin;
    size_t users; /* tenures */
};

static struct sky_tenure_upstream *make(struct sky_worker *worker,
                                        struct sky_generation *generation, size_t index)
{
    struct sky_tenure_upstream *share = h2o_mem_alloc(sizeof(*share));

    share->upstream = sky_upstream_new(&worker->ctx, generation->fleet.rosters[index],
                                       worker->index, generation->config, &worker->counters);
    share->origin = sky_generation_hold(generation);
    share->users = 1;
    return share;
}

/* By its roster; NULL when it is new. */
static struct sky_tenure_upstream *find(const struct sky_tenure *former,
                                        const struct sky_roster *roster)
{
    for (size_t i = 0; former != NULL && i < former->config->upstream_count; ++i)
        if (former->generation->fleet.rosters[i] == roster)
            return former->shares[i];
    return NULL;
}

static bool shares(const struct sky_tenure *tenure, const struct sky_tenure_upstream *share)
{
    for (size_t i = 0; i < tenure->config->upstream_count; ++i)
        if (tenure->shares[i] == share)
            return true;
    return false;
}

/* One that goes on has nothing to leave. Others may have older users still. */
static void inherit(const struct sky_tenure *tenure, const struct sky_tenure *former)
{
    for (size_t i = 0; i < former->config->upstream_count; ++i) {
        struct sky_upstream *heir = NULL, *from = former->upstreams[i];
        if (shares(tenure, former->shares[i]))
            continue;
        for (size_t k = 0; k < tenure->config->upstream_count && heir == NULL; ++k)
            if (strcmp(tenure->upstreams[k]->config->name, from->config->name) == 0)
                heir = tenure->upstreams[k];
        sky_upstream_retire(from, heir);
    }
}

static struct sky_folder *make_folders(const struct sky_config *config)
{
    struct sky_folder *folders = h2o_mem_alloc(config->route_count * sizeof(*folders));

    for (size_t i = 0; i < config->route_count; ++i) {
        const struct sky_route_rules *rules = config->routes[i].rules;
        sky_folder_init(&folders[i], rules != NULL ? rules->files.folder : NULL);
    }
    return folders;
}

struct sky_tenure *sky_tenure_new(struct sky_worker *worker, struct sky_generation *generation,
                                  const struct sky_tenure *former)
{
    size_t count = generation->config->upstream_count;
    struct sky_tenure *tenure = h2o_mem_alloc(sizeof(*tenure));

    *tenure = (struct sky_tenure){.generation = generation,
                                  .config = generation->config,
                                  .upstreams = h2o_mem_alloc(count * sizeof(*tenure->upstreams)),
                                  .shares = h2o_mem_alloc(count * sizeof(*tenure->shares)),
                                  .folders = make_folders(generation->config),
                                  .users = 1,
                                  .ended = &worker->ended_tenures};
    for (size_t i = 0; i < count; ++i) {
        struct sky_tenure_upstream *share = find(former, generation->fleet.rosters[i]);
        if (share != NULL)
            share->users++;
        else
            share = make(worker, generation, i);
        tenure->shares[i] = share;
        tenure->upstreams[i] = share->upstream;
    }
    if (former != NULL)
        inherit(tenure, former);
    return tenure;
}

void sky_tenure_release(struct sky_tenure *tenure)
{
    if (--tenure->users != 0)
        return;
    tenure->next = *tenure->ended;
    *tenure->ended = tenure;
}

static void give_up(struct sky_tenure_upstream *share)
{
    if (--share->users != 0)
        return;
    sky_upstream_destroy(share->upstream);
    sky_generation_release(share->origin);
    free(share);
}

void sky_tenure_bury(struct sky_tenure **ended)
{
    while (*ended != NULL) {
        struct sky_tenure *tenure = *ended;
        *ended = tenure->next;
        for (size_t i = 0; i < tenure->config->upstream_count; ++i)
            give_up(tenure->shares[i]);
        for (size_t i = 0; i < tenure->config->route_count; ++i)
            sky_folder_fini(&tenure->folders[i]);
        free(tenure->folders);
        free(tenure->shares);
        free(tenure->upstreams);
        sky_generation_release(tenure->generation);
        free(tenure);
    }
}

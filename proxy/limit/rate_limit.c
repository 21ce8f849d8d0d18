/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/rate_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#define SHARDS 64
#define NS_PER_S 1000000000ULL

/* Index of no bucket. */
#define NONE UINT32_MAX

struct bucket {
    struct sky_address_key client;
    uint64_t full_at_ns;
    uint32_t zone;
    uint32_t next;         /* of the hash chain, or of the free list */
    uint32_t newer, older; /* by last use */
};

struct shard {
    pthread_mutex_t mutex;
    struct bucket *buckets; /* heap */
    uint32_t *chains;       /* heap, a power of two of them */
    uint32_t used, newest, oldest;
};

struct sky_rate_limit {
    uint64_t seed;
    uint32_t per_shard, chain_mask;
    struct shard shards[SHARDS];
};

static uint32_t power_of_two(uint32_t at_least)
{
    uint32_t power = 1;

    while (power < at_least)
        power *= 2;
    return power;
}

static bool make_shard(struct shard *shard, uint32_t buckets, uint32_t chains)
{
    pthread_mutex_init(&shard->mutex, NULL);
    shard->newest = shard->oldest = NONE;
    shard->buckets = calloc(buckets, sizeof(*shard->buckets));
    shard->chains = malloc(chains * sizeof(*shard->chains));
    if (shard->buckets == NULL || shard->chains == NULL)
        return false;
    for (uint32_t i = 0; i < chains; ++i)
        shard->chains[i] = NONE;
    return true;
}

struct sky_rate_limit *sky_rate_limit_new(uint32_t bucket_count)
{
    struct sky_rate_limit *limit = calloc(1, sizeof(*limit));
    bool made = limit != NULL;

    if (limit == NULL)
        return NULL;
    limit->per_shard = (bucket_count + SHARDS - 1) / SHARDS;
    limit->chain_mask = power_of_two(limit->per_shard) - 1;
    if (getrandom(&limit->seed, sizeof(limit->seed), GRND_NONBLOCK) != sizeof(limit->seed))
        limit->seed = (uint64_t)(uintptr_t)limit;
    for (size_t i = 0; i < SHARDS; ++i)
        made &= make_shard(&limit->shards[i], limit->per_shard, limit->chain_mask + 1);
    if (made)
        return limit;
    sky_rate_limit_destroy(limit);
    return NULL;
}

void sky_rate_limit_destroy(struct sky_rate_limit *limit)
{
    if (limit == NULL)
        return;
    for (size_t i = 0; i < SHARDS; ++i) {
        pthread_mutex_destroy(&limit->shards[i].mutex);
        free(limit->shards[i].buckets);
        free(limit->shards[i].chains);
    }
    free(limit);
}

/* ---- the order of use ---- */

static void unlink_use(struct shard *shard, uint32_t index)
{
    struct bucket *bucket = &shard->buckets[index];

    if (bucket->newer != NONE)
        shard->buckets[bucket->newer].older = bucket->older;
    else
        shard->newest = bucket->older;
    if (bucket->older != NONE)
        shard->buckets[bucket->older].newer = bucket->newer;
    else
        shard->oldest = bucket->newer;
}

static void link_newest(struct shard *shard, uint32_t index)
{
    struct bucket *bucket = &shard->buckets[index];

    bucket->newer = NONE;
    bucket->older = shard->newest;
    if (shard->newest != NONE)
        shard->buckets[shard->newest].newer = index;
    else
        shard->oldest = index;
    shard->newest = index;
}

/* ---- chains ---- */

static uint32_t *chain_of(const struct sky_rate_limit *limit, struct shard *shard, uint64_t hash)
{
    return &shard->chains[hash / SHARDS & limit->chain_mask];
}

static uint64_t hash_of(const struct sky_rate_limit *limit, const struct bucket *bucket)
{
    return sky_address_key_hash(&bucket->client, bucket->zone, limit->seed);
}

/* The bucket that was used longest ago, out of its chain and of the order. */
static uint32_t evict(const struct sky_rate_limit *limit, struct shard *shard)
{
    uint32_t index = shard->oldest;
    uint32_t *at = chain_of(limit, shard, hash_of(limit, &shard->buckets[index]));

    while (*at != index)
        at = &shard->buckets[*at].next;
    *at = shard->buckets[index].next;
    unlink_use(shard, index);
    return index;
}

static struct bucket *find(struct shard *shard, uint32_t chain,
                           const struct sky_address_key *client, uint32_t zone)
{
    for (uint32_t i = chain; i != NONE; i = shard->buckets[i].next) {
        struct bucket *bucket = &shard->buckets[i];
        if (bucket->zone == zone && sky_address_key_equal(&bucket->client, client)) {
            unlink_use(shard, i);
            link_newest(shard, i);
            return bucket;
        }
    }
    return NULL;
}

static struct bucket *add(const struct sky_rate_limit *limit, struct shard *shard, uint32_t *chain,
                          uint64_t now_ns, bool *evicted)
{
    uint32_t index = shard->used;

    if (index < limit->per_shard) {
        shard->used++;
    } else {
        index = evict(limit, shard);
        *evicted = shard->buckets[index].full_at_ns > now_ns;
    }
    struct bucket *bucket = &shard->buckets[index];
    bucket->next = *chain;
    *chain = index;
    link_newest(shard, index);
    return bucket;
}

/* ---- tokens ---- */

static uint32_t take(struct bucket *bucket, const struct sky_rate_config *rate, uint64_t now_ns)
{
    uint64_t interval_ns = rate->rate.period_s * NS_PER_S / rate->rate.count;
    uint64_t full_at_ns = bucket->full_at_ns > now_ns ? bucket->full_at_ns : now_ns;
    uint64_t empty_ns = rate->burst * interval_ns, missing_ns = full_at_ns + interval_ns - now_ns;

    if (missing_ns > empty_ns)
        return (uint32_t)((missing_ns - empty_ns + NS_PER_S - 1) / NS_PER_S);
    bucket->full_at_ns = full_at_ns + interval_ns;
    return 0;
}

struct sky_rate_verdict sky_rate_limit_take(struct sky_rate_limit *limit,
                                            const struct sky_address_key *client, uint32_t zone,
                                            const struct sky_rate_config *rate, uint64_t now_ns)
{
    uint64_t hash = sky_address_key_hash(client, zone, limit->seed);
    struct shard *shard = &limit->shards[hash % SHARDS];
    struct sky_rate_verdict verdict = {0};

    pthread_mutex_lock(&shard->mutex);
    uint32_t *chain = chain_of(limit, shard, hash);
    struct bucket *bucket = find(shard, *chain, client, zone);
    if (bucket == NULL) {
        bucket = add(limit, shard, chain, now_ns, &verdict.evicted);
        bucket->client = *client;
        bucket->zone = zone;
        bucket->full_at_ns = 0;
    }
    verdict.wait_s = take(bucket, rate, now_ns);
    pthread_mutex_unlock(&shard->mutex);
    return verdict;
}

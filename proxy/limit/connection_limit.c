/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/connection_limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proxy/limit/address_key.h"

/* Descriptors beside those of requests: of the process, and of each worker (loop, listeners, stitch
 * channel with its helpers, idle upstream sockets). */
#define OWN_DESCRIPTORS 64
#define WORKER_DESCRIPTORS 32

/* More than these need memory that nobody should have to give by default: about 4 KiB each. */
#define AUTO_MAX 65536
#define AUTO_MIN 16

#define SHARDS 64
#define BUCKETS 1024 /* of each shard */

/* The connections of one address; there as long as there is one. */
struct address {
    struct address *next; /* of its bucket */
    struct sky_address_key key;
    uint32_t count;
};

struct shard {
    pthread_mutex_t mutex;
    struct address *buckets[BUCKETS];
};

struct sky_connection_limit {
    _Atomic uint32_t max, per_address, count;
    uint64_t seed;
    struct shard shards[SHARDS];
};

/* A connection that is counted for its address. */
struct slot {
    struct sky_connection_limit *limit;
    struct shard *shard;
    struct address **bucket, *address;
};

uint32_t sky_connection_limit_auto(uint64_t descriptor_limit, uint32_t workers)
{
    uint64_t own = OWN_DESCRIPTORS + (uint64_t)workers * WORKER_DESCRIPTORS;
    uint64_t half = descriptor_limit > own ? (descriptor_limit - own) / 2 : 0;

    if (half < AUTO_MIN)
        return AUTO_MIN;
    return half < AUTO_MAX ? (uint32_t)half : AUTO_MAX;
}

struct sky_connection_limit *sky_connection_limit_new(uint32_t max, uint32_t per_address)
{
    struct sky_connection_limit *limit = calloc(1, sizeof(*limit));

    if (limit == NULL)
        return NULL;
    sky_connection_limit_set(limit, max, per_address);
    if (getrandom(&limit->seed, sizeof(limit->seed), GRND_NONBLOCK) != sizeof(limit->seed))
        limit->seed = (uint64_t)(uintptr_t)limit;
    for (size_t i = 0; i < SHARDS; ++i)
        pthread_mutex_init(&limit->shards[i].mutex, NULL);
    return limit;
}

void sky_connection_limit_set(struct sky_connection_limit *limit, uint32_t max,
                              uint32_t per_address)
{
    atomic_store_explicit(&limit->max, max, memory_order_relaxed);
    atomic_store_explicit(&limit->per_address, per_address, memory_order_relaxed);
}

/* ---- in all ---- */

static void leave(void *data)
{
    struct sky_connection_limit *limit = data;

    atomic_fetch_sub_explicit(&limit->count, 1, memory_order_relaxed);
}

bool sky_connection_limit_enter(struct sky_connection_limit *limit, h2o_socket_t *sock)
{
    uint32_t max = atomic_load_explicit(&limit->max, memory_order_relaxed);

    if (atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) >= max) {
        leave(limit);
        return false;
    }
    sock->on_close.cb = leave;
    sock->on_close.data = limit;
    return true;
}

/* ---- of one address ---- */

static void leave_address(void *data)
{
    struct slot *slot = data;

    pthread_mutex_lock(&slot->shard->mutex);
    if (--slot->address->count == 0) {
        struct address **at = slot->bucket;
        while (*at != slot->address)
            at = &(*at)->next;
        *at = slot->address->next;
        free(slot->address);
    }
    pthread_mutex_unlock(&slot->shard->mutex);
    leave(slot->limit);
    free(slot);
}

/* Counts one more; NULL when memory is out. */
static struct address *find_or_add(struct address **bucket, const struct sky_address_key *key)
{
    for (struct address *at = *bucket; at != NULL; at = at->next) {
        if (sky_address_key_equal(&at->key, key)) {
            at->count++;
            return at;
        }
    }
    struct address *added = malloc(sizeof(*added));
    if (added == NULL)
        return NULL;
    *added = (struct address){.next = *bucket, .key = *key, .count = 1};
    *bucket = added;
    return added;
}

bool sky_connection_limit_enter_address(struct sky_connection_limit *limit, h2o_socket_t *sock,
                                        const struct sky_trust *trust)
{
    uint32_t max = atomic_load_explicit(&limit->per_address, memory_order_relaxed);
    struct sockaddr_storage peer = {0};
    struct sky_address_key key;

    if (max == 0 || h2o_socket_getpeername(sock, (struct sockaddr *)&peer) == 0 ||
        !sky_address_key_of((struct sockaddr *)&peer, &key) ||
        sky_trust_peer(trust, (struct sockaddr *)&peer))
        return true;
    uint64_t hash = sky_address_key_hash(&key, 0, limit->seed);
    struct shard *shard = &limit->shards[hash % SHARDS];
    struct address **bucket = &shard->buckets[hash / SHARDS % BUCKETS];
    struct slot *slot = malloc(sizeof(*slot));
    if (slot == NULL) /* not counted rather than refused, as below */
        return true;
    pthread_mutex_lock(&shard->mutex);
    *slot = (struct slot){limit, shard, bucket, find_or_add(bucket, &key)};
    bool allowed = slot->address == NULL || slot->address->count <= max;
    if (slot->address != NULL && !allowed)
        slot->address->count--;
    pthread_mutex_unlock(&shard->mutex);
    if (slot->address == NULL || !allowed) {
        free(slot);
        return allowed;
    }
    sock->on_close.cb = leave_address;
    sock->on_close.data = slot;
    return true;
}

void sky_connection_limit_destroy(struct sky_connection_limit *limit)
{
    if (limit == NULL)
        return;
    for (size_t i = 0; i < SHARDS; ++i)
        pthread_mutex_destroy(&limit->shards[i].mutex);
    free(limit);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/roster.h"

#include "proxy/back/back_tls.h"
#include "proxy/config/config_upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the kernel and C11 want of aligned memory: whole cache lines. */
static void *alloc_lines(size_t bytes)
{
    size_t rounded = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, rounded);

    if (memory != NULL)
        memset(memory, 0, rounded);
    return memory;
}

static struct sky_member *member_new(const struct sky_roster *roster, size_t index)
{
    const struct sky_server_config *config = &roster->config->servers[index];
    struct sky_member *member =
        alloc_lines(sizeof(*member) + roster->worker_count * sizeof(member->shares[0]));

    if (member == NULL)
        return NULL;
    member->config = config;
    member->address = config->address;
    member->index = index;
    member->references = 1;
    snprintf(member->label, sizeof(member->label), "%s", config->address.text);
    return member;
}

struct sky_roster *sky_roster_new(const struct sky_upstream_config *config, size_t worker_count)
{
    struct sky_roster *roster = calloc(1, sizeof(*roster));

    if (roster == NULL)
        return NULL;
    roster->config = config;
    roster->worker_count = worker_count;
    pthread_mutex_init(&roster->mutex, NULL);
    roster->members = calloc(config->server_count, sizeof(struct sky_member *));
    roster->workers = alloc_lines(worker_count * sizeof(*roster->workers));
    if (roster->members == NULL || roster->workers == NULL) {
        sky_roster_destroy(roster);
        return NULL;
    }
    for (; roster->member_count < config->server_count; ++roster->member_count) {
        struct sky_member *member = member_new(roster, roster->member_count);
        if (member == NULL) {
            sky_roster_destroy(roster);
            return NULL;
        }
        roster->members[roster->member_count] = member;
        roster->limited |= member->config->max_connections != 0;
    }
    return roster;
}

void sky_roster_destroy(struct sky_roster *roster)
{
    if (roster == NULL)
        return;
    for (size_t i = 0; i < roster->member_count; ++i)
        sky_member_release(roster->members[i]);
    free(roster->members);
    free(roster->workers);
    SSL_CTX_free(roster->tls);
    pthread_mutex_destroy(&roster->mutex);
    free(roster);
}

bool sky_roster_open_tls(struct sky_roster *roster)
{
    if (!sky_config_upstream_tls(roster->config))
        return true;
    roster->tls = sky_back_tls_context(roster->config);
    return roster->tls != NULL;
}

struct sky_member **sky_roster_copy(struct sky_roster *roster, size_t *count, uint64_t *version)
{
    pthread_mutex_lock(&roster->mutex);
    struct sky_member **copy = h2o_mem_alloc(roster->member_count * sizeof(*copy));
    *count = roster->member_count;
    *version = roster->version;
    for (size_t i = 0; i < roster->member_count; ++i) {
        copy[i] = roster->members[i];
        copy[i]->references++;
    }
    pthread_mutex_unlock(&roster->mutex);
    return copy;
}

void sky_member_release(struct sky_member *member)
{
    if (member != NULL && --member->references == 0)
        free(member);
}

bool sky_member_enter(struct sky_member *member)
{
    uint32_t max = member->config->max_connections, taken = member->taken;

    if (max == 0)
        return true;
    while (taken < max)
        if (atomic_compare_exchange_weak(&member->taken, &taken, taken + 1))
            return true;
    return false;
}

void sky_member_leave(struct sky_member *member)
{
    if (member->config->max_connections != 0)
        member->taken--;
}

bool sky_member_is_full(const struct sky_member *member)
{
    uint32_t max = member->config->max_connections;

    return max != 0 && member->taken >= max;
}

void sky_roster_listen(struct sky_roster *roster, size_t worker,
                       h2o_multithread_receiver_t *receiver)
{
    pthread_mutex_lock(&roster->mutex);
    roster->workers[worker].receiver = receiver;
    pthread_mutex_unlock(&roster->mutex);
}

bool sky_roster_wake(struct sky_roster *roster, size_t worker)
{
    for (size_t i = 1; i <= roster->worker_count; ++i) {
        size_t at = (worker + i) % roster->worker_count;
        struct sky_roster_worker *other = &roster->workers[at];
        if (other->waiting == 0)
            continue;
        if (at == worker)
            return true;
        pthread_mutex_lock(&roster->mutex);
        bool sent = other->receiver != NULL;
        if (sent && !atomic_exchange(&other->woken, true))
            h2o_multithread_send_message(other->receiver, &other->wake);
        pthread_mutex_unlock(&roster->mutex);
        if (sent)
            return false;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/roster.h"

#include "proxy/back/back_tls.h"
#include "proxy/config/config_upstream.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/peer_text.h"
#include "reporter/log.h"

/* Addresses of one name that are used. */
#define ADDRESSES_MAX 256

/* What the kernel and C11 want of aligned memory: whole cache lines. */
static void *alloc_lines(size_t bytes)
{
    size_t rounded = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, rounded);

    if (memory != NULL)
        memset(memory, 0, rounded);
    return memory;
}

/* sockaddr: what the server's name has; NULL: it is written without one. */
static struct sky_member *member_new(const struct sky_roster *roster, size_t index,
                                     const struct sockaddr *sockaddr, socklen_t len)
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
    if (sockaddr == NULL)
        return member;
    char ip[SKY_PEER_TEXT_BYTES];
    memcpy(&member->address.sockaddr, sockaddr, len);
    member->address.sockaddr_len = len;
    struct sky_text shown = sky_peer_ip(&member->address.sockaddr, ip);
    snprintf(member->label, sizeof(member->label), "%.100s (%.*s)", config->address.text,
             (int)shown.len, shown.base);
    return member;
}

/* Those of names come with the first answer. */
static bool add_members(struct sky_roster *roster)
{
    for (size_t i = 0; i < roster->config->server_count; ++i) {
        const struct sky_server_config *server = &roster->config->servers[i];
        roster->limited |= server->max_connections != 0;
        if (sky_address_is_name(&server->address)) {
            roster->named = true;
            roster->unanswered++;
            continue;
        }
        struct sky_member *member = member_new(roster, i, NULL, 0);
        if (member == NULL)
            return false;
        roster->members[roster->member_count++] = member;
    }
    return true;
}

struct sky_roster *sky_roster_new(const struct sky_upstream_config *config, size_t worker_count)
{
    struct sky_roster *roster = calloc(1, sizeof(*roster));

    if (roster == NULL)
        return NULL;
    roster->config = config;
    roster->worker_count = worker_count;
    pthread_mutex_init(&roster->mutex, NULL);
    roster->members = calloc(config->server_count + 1, sizeof(struct sky_member *));
    roster->names = calloc(config->server_count + 1, sizeof(*roster->names));
    roster->workers = alloc_lines(worker_count * sizeof(*roster->workers));
    if (roster->members == NULL || roster->names == NULL || roster->workers == NULL ||
        !add_members(roster)) {
        sky_roster_destroy(roster);
        return NULL;
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
    free(roster->names);
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
    struct sky_member **copy = h2o_mem_alloc((roster->member_count + 1) * sizeof(*copy));
    *count = roster->member_count;
    *version = roster->version;
    for (size_t i = 0; i < roster->member_count; ++i) {
        copy[i] = roster->members[i];
        copy[i]->references++;
    }
    pthread_mutex_unlock(&roster->mutex);
    return copy;
}

/* --- names --- */

static bool has_address(const struct sky_member *member, const struct addrinfo *address)
{
    return member->address.sockaddr_len == address->ai_addrlen &&
           memcmp(&member->address.sockaddr, address->ai_addr, address->ai_addrlen) == 0;
}

/* Whether the member is another server's, or the name still has its address. */
static bool stays(const struct sky_member *member, size_t server, const struct addrinfo *list)
{
    if (member->index != server)
        return true;
    while (list != NULL && !has_address(member, list))
        list = list->ai_next;
    return list != NULL;
}

static bool is_known(struct sky_member *const *members, size_t count, size_t server,
                     const struct addrinfo *address)
{
    for (size_t i = 0; i < count; ++i)
        if (members[i]->index == server && has_address(members[i], address))
            return true;
    return false;
}

/* Appends those that are new; what memory is out for comes with the next answer. */
static size_t add_new(const struct sky_roster *roster, size_t server, const struct addrinfo *list,
                      struct sky_member **members, size_t count)
{
    for (size_t i = 0; list != NULL && i < ADDRESSES_MAX; list = list->ai_next, ++i) {
        if (is_known(members, count, server, list))
            continue;
        members[count] = member_new(roster, server, list->ai_addr, list->ai_addrlen);
        count += members[count] != NULL;
    }
    return count;
}

/* Puts the members in the place of those that there are. */
static void change_list(struct sky_roster *roster, struct sky_member **members, size_t count)
{
    pthread_mutex_lock(&roster->mutex);
    roster->members = members;
    roster->member_count = count;
    roster->version++;
    pthread_mutex_unlock(&roster->mutex);
}

static bool take_addresses(struct sky_roster *roster, size_t server, const struct addrinfo *list)
{
    struct sky_member **former = roster->members;
    size_t former_count = roster->member_count, kept = 0;
    struct sky_member **members = calloc(former_count + ADDRESSES_MAX, sizeof(*members));

    if (members == NULL)
        return false;
    for (size_t i = 0; i < former_count; ++i)
        if (stays(former[i], server, list))
            members[kept++] = former[i];
    size_t count = add_new(roster, server, list, members, kept);
    if (kept == former_count && count == kept) {
        free(members);
        return false;
    }
    change_list(roster, members, count);
    sky_log(SKY_LOG_INFO, "upstream %s: %s: %zu addresses are new, %zu are gone",
            roster->config->name, roster->config->servers[server].address.text, count - kept,
            former_count - kept);
    for (size_t i = 0; i < former_count; ++i)
        if (!stays(former[i], server, list))
            sky_member_release(former[i]);
    free(former);
    return true;
}

bool sky_roster_take_answer(struct sky_roster *roster, size_t server, const struct addrinfo *list,
                            uint64_t now_ms)
{
    struct sky_roster_name *name = &roster->names[server];
    bool changed = list != NULL && take_addresses(roster, server, list);

    if (list != NULL)
        name->known_ms = now_ms;
    if (!name->answered) {
        name->answered = true;
        roster->unanswered--;
    }
    sky_roster_wake_all(roster);
    return changed;
}

static void inherit_addresses(struct sky_roster *roster, size_t server,
                              const struct sky_roster *from, size_t former)
{
    struct sky_member **members =
        calloc(roster->member_count + from->member_count + 1, sizeof(*members));
    size_t count = roster->member_count;

    if (members == NULL)
        return;
    memcpy(members, roster->members, count * sizeof(*members));
    for (size_t i = 0; i < from->member_count; ++i) {
        const struct sky_address *address = &from->members[i]->address;
        if (from->members[i]->index != former)
            continue;
        members[count] = member_new(roster, server, (const struct sockaddr *)&address->sockaddr,
                                    address->sockaddr_len);
        count += members[count] != NULL;
    }
    free(roster->members);
    roster->members = members;
    roster->member_count = count;
    roster->names[server] = from->names[former];
    roster->unanswered -= from->names[former].answered;
}

void sky_roster_inherit(struct sky_roster *roster, const struct sky_roster *from)
{
    const struct sky_upstream_config *now = roster->config, *before = from->config;

    for (size_t i = 0; i < now->server_count; ++i)
        for (size_t k = 0; k < before->server_count; ++k)
            if (sky_address_is_name(&now->servers[i].address) && !roster->names[i].answered &&
                strcmp(now->servers[i].address.text, before->servers[k].address.text) == 0)
                inherit_addresses(roster, i, from, k);
    for (size_t i = 0; i < roster->member_count; ++i)
        for (size_t k = 0; k < from->member_count; ++k)
            if (strcmp(roster->members[i]->label, from->members[k]->label) == 0)
                roster->members[i]->unwell = from->members[k]->unwell;
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

/* False: nobody listens there. */
static bool wake(struct sky_roster *roster, struct sky_roster_worker *worker)
{
    pthread_mutex_lock(&roster->mutex);
    bool sent = worker->receiver != NULL;
    if (sent && !atomic_exchange(&worker->woken, true))
        h2o_multithread_send_message(worker->receiver, &worker->wake);
    pthread_mutex_unlock(&roster->mutex);
    return sent;
}

void sky_roster_wake_all(struct sky_roster *roster)
{
    for (size_t i = 0; i < roster->worker_count; ++i)
        if (roster->workers[i].waiting != 0)
            wake(roster, &roster->workers[i]);
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
        if (wake(roster, other))
            return false;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/listeners.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/front/http1_front.h"
#include "proxy/front/inherited.h"
#include "proxy/front/tls.h"
#include "reporter/log.h"

static int open_tls(const struct sky_listener_config *config, struct sky_tls **tls)
{
    char error[512];
    *tls = NULL;
    if (config->tls.certificate_count == 0)
        return 0;
    *tls = sky_tls_new(&config->tls, error, sizeof(error));
    if (*tls == NULL) {
        sky_log(SKY_LOG_ERROR, "listen: %s: %s", config->address.text, error);
        return -1;
    }
    sky_front_prepare_tls(sky_tls_context(*tls));
    return 0;
}

static size_t find(const struct sky_listener_set *former, const struct sky_address *address)
{
    for (size_t i = 0; former != NULL && i < former->count; ++i)
        if (strcmp(former->items[i].address->text, address->text) == 0)
            return i;
    return SKY_GENERATION_NEW;
}

/* Of a listener that goes, or changes from all addresses of the machine to one or back; or of one
 * that the process before has not closed yet. */
static bool has_port(const struct sky_listener_set *former, const struct sky_address *address)
{
    for (size_t i = 0; former != NULL && i < former->count; ++i)
        if (address->port != 0 && former->items[i].address->port == address->port)
            return true;
    return sky_inherited_left(address->port);
}

static int open_one(struct sky_listener *listener, const struct sky_listener_config *config,
                    const struct sky_listener_set *former, size_t *same, size_t workers)
{
    struct sky_tls *tls;
    char error[256];
    if (open_tls(config, &tls) != 0)
        return -1;
    *same = find(former, &config->address);
    if (*same != SKY_GENERATION_NEW) {
        *listener = former->items[*same];
        listener->address = &config->address;
    } else if (sky_listener_open(listener, &config->address, workers,
                                 has_port(former, &config->address), error, sizeof(error)) != 0) {
        sky_log(SKY_LOG_ERROR, "listen: %s", error);
        sky_tls_destroy(tls);
        return -1;
    }
    listener->tls = tls;
    return 0;
}

void sky_listener_set_give_up(struct sky_listener_set *set)
{
    for (size_t i = 0; i < set->count; ++i) {
        if (set->same[i] != SKY_GENERATION_NEW)
            sky_tls_destroy(set->items[i].tls);
        else
            sky_listener_close(&set->items[i]);
    }
    free(set->items);
    free(set->same);
    *set = (struct sky_listener_set){0};
}

int sky_listener_set_open(struct sky_listener_set *set, const struct sky_config *config,
                          const struct sky_listener_set *former)
{
    *set = (struct sky_listener_set){
        .items = h2o_mem_alloc(config->listener_count * sizeof(*set->items)),
        .same = h2o_mem_alloc(config->listener_count * sizeof(*set->same)),
    };
    for (; set->count < config->listener_count; ++set->count) {
        if (open_one(&set->items[set->count], &config->listeners[set->count], former,
                     &set->same[set->count], config->workers) == 0)
            continue;
        sky_listener_set_give_up(set);
        return -1;
    }
    return 0;
}

void sky_listener_set_fill(struct sky_listener_set *set, struct sky_worker_plan *plan,
                           size_t worker_index)
{
    for (size_t i = 0; i < set->count; ++i) {
        struct sky_listener *listener = &set->items[i];
        struct sky_worker_listen *listen = &plan->listeners[i];
        if (listener->tls != NULL) {
            listen->tls = sky_tls_context(listener->tls);
            SSL_CTX_up_ref(listen->tls);
        }
        listen->same = set->same[i];
        if (listen->same != SKY_GENERATION_NEW)
            continue;
        listen->shared = listener->shared;
        listen->fds = h2o_mem_alloc(listener->fd_count * sizeof(*listen->fds));
        for (size_t k = worker_index; k < listener->fd_count; k += listener->workers)
            listen->fds[listen->fd_count++] = listener->fds[k];
        listener->taken = true;
    }
}

void sky_listener_set_follow(struct sky_listener_set *set, struct sky_listener_set *former)
{
    for (size_t i = 0; i < former->count; ++i) {
        bool stays = false;
        for (size_t k = 0; k < set->count; ++k)
            stays |= set->same[k] == i;
        if (!stays) {
            sky_listener_close(&former->items[i]);
            continue;
        }
        sky_tls_destroy(former->items[i].tls);
    }
    free(former->items);
    free(former->same);
    *former = *set;
    *set = (struct sky_listener_set){0};
}

void sky_listener_set_own_files(struct sky_listener_set *set)
{
    for (size_t i = 0; i < set->count; ++i)
        sky_listener_own_file(&set->items[i]);
}

void sky_listener_set_remove_files(struct sky_listener_set *set)
{
    for (size_t i = 0; i < set->count; ++i)
        sky_listener_remove_file(&set->items[i]);
}

void sky_listener_set_leave_files(struct sky_listener_set *set)
{
    for (size_t i = 0; i < set->count; ++i)
        set->items[i].has_file = false;
}

void sky_listener_set_close(struct sky_listener_set *set)
{
    for (size_t i = 0; i < set->count; ++i)
        sky_listener_close(&set->items[i]);
    free(set->items);
    free(set->same);
    *set = (struct sky_listener_set){0};
}

size_t sky_listener_set_check(const struct sky_config *config)
{
    size_t defects = 0;
    for (size_t i = 0; i < config->listener_count; ++i) {
        struct sky_tls *tls;
        defects += open_tls(&config->listeners[i], &tls) != 0;
        sky_tls_destroy(tls);
    }
    return defects;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker serves by: a generation of the configuration and the upstreams that it names.
 *
 * A reload gives the worker the next tenure. What began under a tenure holds it, so that a request
 * ends by the configuration it began with. An upstream that the reload did not change is shared by
 * both tenures, with its sockets, its health and its counts; one that was changed gives the idle
 * sockets of the servers that stay to the one in its place. Loop thread only. */
#ifndef SKY_PROXY_TENURE_H
#define SKY_PROXY_TENURE_H

#include <h2o.h>

#include "proxy/generation.h"

struct sky_folder;
struct sky_upstream;
struct sky_worker;
struct sky_tenure_upstream;

struct sky_tenure {
    struct sky_generation *generation; /* one use of it */
    const struct sky_config *config;   /* the generation's */
    struct sky_upstream **upstreams;   /* one per config->upstreams */
    struct sky_folder *folders;        /* one per config->routes; of those with files */

    /* tenure.c */
    struct sky_tenure_upstream **shares; /* of the same upstreams */
    size_t users;
    struct sky_tenure **ended; /* the worker's list: it is freed from there */
    struct sky_tenure *next;
};

/* sky_tenure_new: takes over one use of the generation; the caller has the first use of the tenure.
 * former: whose place it takes, or NULL; upstreams whose roster both generations have go on. */
struct sky_tenure *sky_tenure_new(struct sky_worker *worker, struct sky_generation *generation,
                                  const struct sky_tenure *former);

static inline struct sky_tenure *sky_tenure_hold(struct sky_tenure *tenure)
{
    tenure->users++;
    return tenure;
}

/* sky_tenure_release: the last one puts it on the list of those that have ended. It is not freed
 * here, since this may run below a timer of one of its upstreams. */
void sky_tenure_release(struct sky_tenure *tenure);

/* sky_tenure_bury: frees those that have ended. Never from below the loop. */
void sky_tenure_bury(struct sky_tenure **ended);

#endif

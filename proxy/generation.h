/* SPDX-License-Identifier: Apache-2.0 */
/* One configuration that is, or was, in force. A reload puts the next one in its place; it goes
 * when nothing that began under it is left. Any thread. */
#ifndef SKY_PROXY_GENERATION_H
#define SKY_PROXY_GENERATION_H

#include <stdatomic.h>

#include "proxy/back/roster.h"
#include "proxy/config/config.h"

struct sky_generation {
    struct sky_config *config; /* owned */
    struct sky_fleet fleet; /* of config->upstreams; each worker has a share, and the main thread */
    /* for each: the generation whose roster it is, held; NULL: this one */
    struct sky_generation **origins;
    _Atomic size_t users;
};

/* In place of an index: the upstream is new, or has changed. */
#define SKY_GENERATION_NEW SIZE_MAX

/* sky_generation_new: takes the configuration over. The caller has the first use of it. former:
 * whose place it takes, or NULL. same: for each upstream, the index of the one in former that is
 * equal and goes on, or SKY_GENERATION_NEW. NULL after a log line: memory is out, or a file of an
 * upstream cannot be read; the configuration is gone then. */
struct sky_generation *sky_generation_new(struct sky_config *config, struct sky_generation *former,
                                          const size_t *same);

/* sky_generation_hold: one use more; returns its argument. */
struct sky_generation *sky_generation_hold(struct sky_generation *generation);

/* sky_generation_release: one use less; the last one frees. NULL is nothing. */
void sky_generation_release(struct sky_generation *generation);

#endif

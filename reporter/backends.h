/* SPDX-License-Identifier: Apache-2.0 */
/* Which backend is called next, and when: the first of the list while it works, the others in turn
 * when it does not, and when all have failed a pause that doubles from 0.5 s to 30 s, with jitter.
 * Pure: time and randomness come from the caller. */
#ifndef SKY_REPORTER_BACKENDS_H
#define SKY_REPORTER_BACKENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/ids.h"

struct sky_backends {
    size_t count;
    size_t current;
    size_t failed_count; /* in this round through the list */
    size_t slow_count;   /* of those, by a wrong token or an unknown call */
    unsigned rounds;     /* through the whole list without success */
    unsigned epoch;      /* grows with each change of current: what older calls say is no news */
    int64_t ready_ms;
    bool is_up; /* current took or answered the last call */
    struct sky_ids random;
};

/* sky_backends_init: ready at once; `entropy` seeds the jitter. */
void sky_backends_init(struct sky_backends *backends, size_t count, const uint8_t entropy[32]);

bool sky_backends_ready(const struct sky_backends *backends, int64_t now_ms);

/* sky_backends_answered: a call of this epoch was answered by a backend that works. */
void sky_backends_answered(struct sky_backends *backends, unsigned epoch);

/* sky_backends_failed: a call of this epoch was not; `slow` when trying again soon is of no use.
 * Returns true when every backend has failed since the last answer: a pause begins. */
bool sky_backends_failed(struct sky_backends *backends, unsigned epoch, bool slow, int64_t now_ms);

/* sky_backends_prefer: the first of the list works again and is in use; what calls to another one
 * end with says nothing of it. */
void sky_backends_prefer(struct sky_backends *backends);

/* sky_backends_hurry: ends a pause, since there is little time left. */
void sky_backends_hurry(struct sky_backends *backends, int64_t now_ms);

#endif

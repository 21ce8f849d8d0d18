/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds through the list, pauses between them. */
#include "reporter/backends.h"

#define FIRST_PAUSE_MS 1000 /* with jitter: half of it to all of it */
#define LONGEST_PAUSE_MS 30000
#define SLOW_PAUSE_MS 60000

void sky_backends_init(struct sky_backends *backends, size_t count, const uint8_t entropy[32])
{
    *backends = (struct sky_backends){.count = count};
    sky_ids_init(&backends->random, entropy);
}

bool sky_backends_ready(const struct sky_backends *backends, int64_t now_ms)
{
    return now_ms >= backends->ready_ms;
}

void sky_backends_answered(struct sky_backends *backends, unsigned epoch)
{
    if (epoch != backends->epoch)
        return;
    backends->is_up = true;
    backends->failed_count = 0;
    backends->slow_count = 0;
    backends->rounds = 0;
}

static int64_t pause_ms(struct sky_backends *backends)
{
    int64_t longest = LONGEST_PAUSE_MS;

    if (backends->slow_count == backends->count)
        longest = SLOW_PAUSE_MS;
    else if (backends->rounds < 5)
        longest = (int64_t)FIRST_PAUSE_MS << backends->rounds;
    int64_t half = longest / 2;
    return half + (int64_t)(sky_ids_random(&backends->random) % (uint64_t)(half + 1));
}

bool sky_backends_failed(struct sky_backends *backends, unsigned epoch, bool slow, int64_t now_ms)
{
    if (epoch != backends->epoch)
        return false;
    backends->epoch++;
    backends->is_up = false;
    backends->failed_count++;
    backends->slow_count += slow;
    backends->current = (backends->current + 1) % backends->count;
    if (backends->failed_count < backends->count)
        return false;
    backends->ready_ms = now_ms + pause_ms(backends);
    backends->current = 0;
    backends->failed_count = 0;
    backends->slow_count = 0;
    backends->rounds++;
    return true;
}

void sky_backends_prefer(struct sky_backends *backends)
{
    backends->current = 0;
    backends->epoch++;
}

void sky_backends_hurry(struct sky_backends *backends, int64_t now_ms)
{
    backends->ready_ms = now_ms;
    backends->rounds = 0;
}

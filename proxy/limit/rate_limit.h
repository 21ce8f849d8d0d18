/* SPDX-License-Identifier: Apache-2.0 */
/* Requests per time of each client, as token buckets that all workers share. Any thread.
 *
 * A bucket is one number: the time at which it would be full again (the generic cell rate
 * algorithm), so that whatever the number of workers each token is given out once. The table has a
 * fixed number of buckets, in shards with a lock each; a full shard drops the bucket that was used
 * longest ago. */
#ifndef SKY_PROXY_LIMIT_RATE_LIMIT_H
#define SKY_PROXY_LIMIT_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/rate_config.h"
#include "proxy/limit/address_key.h"

struct sky_rate_limit;

/* sky_rate_limit_new: for so many buckets, about 48 bytes each, which are used once there are
 * clients; NULL when memory is out. */
struct sky_rate_limit *sky_rate_limit_new(uint32_t bucket_count);
void sky_rate_limit_destroy(struct sky_rate_limit *limit);

/* What became of a token that was asked for. */
struct sky_rate_verdict {
    uint32_t wait_s; /* 0: it was given; else when the next one is there, rounded up */
    bool evicted;    /* a bucket that was not full had to go, so its client begins anew */
};

/* sky_rate_limit_take: one token of a client's bucket in a zone; now_ns is monotonic. */
struct sky_rate_verdict sky_rate_limit_take(struct sky_rate_limit *limit,
                                            const struct sky_address_key *client, uint32_t zone,
                                            const struct sky_rate_config *rate, uint64_t now_ns);

#endif

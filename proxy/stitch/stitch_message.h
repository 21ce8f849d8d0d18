/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one message of the helper: a JSON object of at most 48 KiB. What is wrong in a part of it
 * is left out or mended; what it does not know is ignored. No clock, no I/O. */
#ifndef SKY_PROXY_STITCH_STITCH_MESSAGE_H
#define SKY_PROXY_STITCH_STITCH_MESSAGE_H

#include <h2o.h>

#include "propagation/ids.h"
#include "proxy/stitch/stitch_part.h"

#define SKY_STITCH_MESSAGE_MAX_BYTES (48 * 1024)

/* Of one request; what exceeds them is left out and the part marked as truncated. */
#define SKY_STITCH_MAX_SPANS 512
#define SKY_STITCH_MAX_TAGS 64 /* a span */
#define SKY_STITCH_MAX_LOGS 32 /* a span */
#define SKY_STITCH_MAX_DATA 16 /* pairs a log */

struct json_t;

enum sky_stitch_message_result {
    SKY_STITCH_MESSAGE_OK,
    SKY_STITCH_MESSAGE_PROCESS, /* of no request: only root is set, for process_word.h */
    SKY_STITCH_MESSAGE_OWN,     /* a segment of the app's own, for stitch_own.h */
    SKY_STITCH_MESSAGE_BAD,     /* no JSON object, no segment id, a part number out of range */
    SKY_STITCH_MESSAGE_VERSION  /* another version than 1 */
};

/* A message whose envelope was read: enough to decide whose it is. */
struct sky_stitch_message {
    struct json_t *root; /* heap, by sky_stitch_message_fini */
    struct sky_id segment;
    uint32_t seq; /* below SKY_APP_MAX_PARTS */
    bool last;
};

/* What taking a message did. */
struct sky_stitch_taken {
    size_t bytes;       /* of the pool */
    uint32_t bad_spans; /* left out: no object, or no id */
    bool cut;           /* the helper left something out */
    bool limited;       /* we did, by the limits above */
};

/* sky_stitch_message_read: decodes the bytes. *message needs sky_stitch_message_fini after OK,
 * PROCESS and OWN. */
enum sky_stitch_message_result sky_stitch_message_read(struct sky_text bytes,
                                                       struct sky_stitch_message *message)
    __attribute__((warn_unused_result));

/* sky_stitch_message_take: adds the message's content to the part, copied into the pool. That it
 * has come is noted by the caller. */
void sky_stitch_message_take(const struct sky_stitch_message *message, h2o_mem_pool_t *pool,
                             struct sky_app_part *part, struct sky_stitch_taken *taken);

void sky_stitch_message_fini(struct sky_stitch_message *message);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Trace and segment ids: 128 random bits as 32 lower-case hex digits. Pure: the seed comes from the
 * caller (getrandom, once per thread, after any fork), nothing here reads a clock or the system. */
#ifndef SKY_PROPAGATION_IDS_H
#define SKY_PROPAGATION_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "propagation/text.h"

#define SKY_ID_HEX 32

/* One thread's generator (xoshiro256**): unique, not secret. Owner: one thread, never shared. */
struct sky_ids {
    uint64_t state[4];
};

struct sky_id {
    uint64_t high, low;
};

/* sky_ids_init: starts the generator from 32 bytes of entropy; all-zero entropy is mended, since
 * the generator would stay at zero. */
void sky_ids_init(struct sky_ids *ids, const uint8_t entropy[32]);

struct sky_id sky_ids_next(struct sky_ids *ids);

/* sky_ids_random: the next 64 random bits, for sampling and jitter. */
uint64_t sky_ids_random(struct sky_ids *ids);

/* sky_id_format: writes exactly SKY_ID_HEX characters, no NUL. */
void sky_id_format(struct sky_id id, char dst[SKY_ID_HEX]);

/* sky_id_parse: reads back what sky_id_format wrote; false for anything else. */
bool sky_id_parse(struct sky_text text, struct sky_id *id);

#endif

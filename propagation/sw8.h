/* SPDX-License-Identifier: Apache-2.0 */
/* The headers sw8 and sw8-x (SkyWalking's Cross Process Propagation Headers Protocol v3). Pure: no
 * allocation, no clock, no I/O. */
#ifndef SKY_PROPAGATION_SW8_H
#define SKY_PROPAGATION_SW8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"

/* The document asks for less than 2 KB; longer values are refused. */
#define SKY_SW8_MAX_BYTES 2048

/* Limits of the fields in bytes: OAP's columns hold 150 for ids, names are cut by their owner. */
#define SKY_SW8_MAX_ID_BYTES 150

struct sky_sw8 {
    bool sampled;               /* 1: to be reported; 0: exists but will probably be ignored */
    struct sky_text trace_id;   /* of the whole trace */
    struct sky_text segment_id; /* of the sender */
    int32_t span_id;            /* the sender's exit span, >= 0 */
    struct sky_text service;    /* of the sender */
    struct sky_text instance;   /* of the sender */
    struct sky_text endpoint;   /* operation of the sender's first entry span */
    struct sky_text address;    /* what the sender dialled; equals its exit span's peer */
};

/* sky_sw8_parse: reads a header value into *sw8, whose texts point into storage (SKY_SW8_MAX_BYTES
 * bytes, owned by the caller, no clean-up). Returns false on any defect: not eight fields, an empty
 * one, sample not 0 or 1, a span id that is no decimal int32, base64 not standard and padded, text
 * that is not UTF-8 or holds NUL, an id above SKY_SW8_MAX_ID_BYTES, a value above
 * SKY_SW8_MAX_BYTES. The caller then treats the header as absent. Blanks around the value are
 * ignored. */
bool sky_sw8_parse(struct sky_text value, char storage[SKY_SW8_MAX_BYTES], struct sky_sw8 *sw8)
    __attribute__((warn_unused_result));

/* sky_sw8_build: writes the header value to dst, no NUL. Returns its length, or 0 when the value
 * exceeds `size` or is none that sky_sw8_parse would accept (a field empty, too long or not UTF-8,
 * span id negative): a receiver must never see a part of one, or a defective one. */
size_t sky_sw8_build(const struct sky_sw8 *sw8, char *dst, size_t size)
    __attribute__((warn_unused_result));

/* sky_sw8x_skips_analysis: whether an sw8-x value asks for skipAnalysis on every span of the
 * context (first field 1). Lenient: anything else is the normal mode. */
bool sky_sw8x_skips_analysis(struct sky_text value);

#endif

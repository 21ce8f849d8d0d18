/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of bytes through gzip or brotli. */
#ifndef SKY_PROXY_COMPRESS_CODER_H
#define SKY_PROXY_COMPRESS_CODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "propagation/text.h"

enum sky_coding { SKY_CODING_NONE, SKY_CODING_GZIP, SKY_CODING_BROTLI };

enum sky_coder_end {
    SKY_CODER_MORE,  /* what is not worth a block yet may stay inside */
    SKY_CODER_FLUSH, /* all that was given comes out */
    SKY_CODER_FINISH /* the last one */
};

/* Zeroed: harmless to fini. */
struct sky_coder {
    enum sky_coding coding;
    z_stream gzip;
    struct BrotliEncoderStateStruct *brotli;
    char *out; /* heap; what has come out since the last call of take */
    size_t out_bytes, out_capacity;
};

/* sky_coder_init: size is the whole input's, or SIZE_MAX when it is not known: a small one needs
 * less memory, which is 256 KiB for gzip and about 1 MiB for brotli else. False when there is none:
 * fini is needed all the same. */
bool sky_coder_init(struct sky_coder *coder, enum sky_coding coding, unsigned level, size_t size)
    __attribute__((warn_unused_result));

/* sky_coder_put: false when memory is out; then only fini may follow. */
bool sky_coder_put(struct sky_coder *coder, struct sky_text bytes, enum sky_coder_end end)
    __attribute__((warn_unused_result));

/* sky_coder_take: what has come out; valid until the next put. */
struct sky_text sky_coder_take(struct sky_coder *coder);

void sky_coder_fini(struct sky_coder *coder);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Decoder of the chunked transfer coding (RFC 9112, 7.1): strict, incremental, copies nothing.
 *
 * Fed the bytes as they come, in any pieces, it hands out views of the data in between the framing:
 *
 *     while ((result = sky_chunked_next(&chunked, &input, &data)) == SKY_CHUNKED_DATA)
 *         use(data);
 *
 * Sizes are 1 to 16 hexadecimal digits, lines end in CRLF alone. Well-formed extensions are
 * ignored, trailer fields checked and dropped, both within bounds. */
#ifndef SKY_PROXY_HTTP_CHUNKED_H
#define SKY_PROXY_HTTP_CHUNKED_H

#include <stdint.h>

#include "propagation/text.h"

#define SKY_CHUNKED_EXTENSION_MAX 256 /* bytes of one chunk's extension, from the size on */
#define SKY_CHUNKED_EXCESS_MAX 16384  /* bytes of extensions beyond twice the data so far */
#define SKY_CHUNKED_TRAILER_MAX 8192  /* bytes of the trailer section */

enum sky_chunked_result {
    SKY_CHUNKED_MORE, /* all input is eaten, the body goes on */
    SKY_CHUNKED_DATA, /* a piece of the body; call again */
    SKY_CHUNKED_DONE, /* the body has ended; input is what follows it */
    SKY_CHUNKED_ERROR /* the framing is broken, for good; input is of no use any more */
};

/* Zeroed before use. Fields are the decoder's own. */
struct sky_chunked {
    uint64_t left; /* of the chunk under way: bytes to come */
    uint32_t
        line_bytes; /* digits of the size; then bytes of the extension; of the trailer section */
    uint32_t excess_bytes;
    uint8_t state;
};

/* sky_chunked_next: eats from the front of *input up to the end of the next piece of data, of the
 * body, or of the input. *data is set for SKY_CHUNKED_DATA alone, is never empty and points into
 * the input. Bytes after the body are never eaten. */
enum sky_chunked_result sky_chunked_next(struct sky_chunked *chunked, struct sky_text *input,
                                         struct sky_text *data) __attribute__((warn_unused_result));

/* sky_chunked_announced: how many bytes of data are still to come by the size of the chunk under
 * way. */
uint64_t sky_chunked_announced(const struct sky_chunked *chunked);

#endif

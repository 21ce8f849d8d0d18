/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk decoder: any bytes in one piece and byte by byte give the same body, end and verdict. */
#include "proxy/http/chunked.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct run {
    uint64_t hash; /* of the body */
    size_t eaten;
    enum sky_chunked_result result;
};

static void feed(struct sky_chunked *chunked, struct run *run, struct sky_text input)
{
    struct sky_text data = {NULL, 0};
    size_t given = input.len;

    while ((run->result = sky_chunked_next(chunked, &input, &data)) == SKY_CHUNKED_DATA) {
        if (data.len == 0)
            abort();
        for (size_t i = 0; i < data.len; i++)
            run->hash = (run->hash ^ (uint8_t)data.base[i]) * 0x100000001b3U;
    }
    run->eaten += given - input.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct sky_chunked at_once = {0}, slow = {0};
    struct run whole = {0}, pieces = {0};

    feed(&at_once, &whole, sky_text((const char *)bytes, size));
    for (size_t i = 0; i < size && pieces.result == SKY_CHUNKED_MORE; i++)
        feed(&slow, &pieces, sky_text((const char *)bytes + i, 1));
    if (whole.result != pieces.result || whole.hash != pieces.hash || whole.eaten != pieces.eaten)
        abort();
    return 0;
}

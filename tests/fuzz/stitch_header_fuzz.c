/* SPDX-License-Identifier: Apache-2.0 */
/* Answer header of the stitch protocol: whatever is accepted keeps to the bounds, lies in the
 * storage, and is text. */
#include "proxy/stitch/stitch_header.h"

#include <stdlib.h>

#include "propagation/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_TIME_US INT64_C(1000000000000000)

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_text(struct sky_text text, const char *storage, size_t size)
{
    require(sky_utf8_valid(text));
    require(text.len == 0 || (text.base >= storage && text.base + text.len <= storage + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_text value = sky_text((const char *)data, size);
    struct sky_app_header header;
    char *storage = malloc(size);

    if (sky_stitch_header_parse(value, storage, &header) == SKY_STITCH_HEADER_OK) {
        require(size <= SKY_STITCH_HEADER_MAX_BYTES);
        require(header.component >= 0 && header.component < 1000000000);
        require(header.begin_us >= 0 && header.begin_us < MAX_TIME_US);
        require(header.duration_us >= 0 && header.duration_us < MAX_TIME_US);
        require(header.announced <= SKY_APP_MAX_PARTS && header.lost < 1000000000);
        check_text(header.handler, storage, size);
        check_text(header.operation, storage, size);
        require(header.handler.len + header.operation.len <= size);
    }
    free(storage);
    return 0;
}

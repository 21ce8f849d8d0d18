/* SPDX-License-Identifier: Apache-2.0 */
/* What a route says of compressing answers. */
#ifndef SKY_PROXY_COMPRESS_COMPRESS_CONFIG_H
#define SKY_PROXY_COMPRESS_COMPRESS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/config/config.h"

struct sky_compress_config {
    bool gzip, brotli;
    uint32_t gzip_level, brotli_quality;
    size_t min_size;          /* answers known to be smaller are left alone */
    struct sky_strings types; /* media types, or "text/" and a star for all below it */
};

#endif

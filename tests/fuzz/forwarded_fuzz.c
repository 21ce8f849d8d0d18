/* SPDX-License-Identifier: Apache-2.0 */
/* X-Forwarded-For, -Host and -Proto of any bytes as the field Forwarded: it fits into its room, and
 * what stands in quotes stays there. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/back/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char own[] = "for=127.0.0.1;host=\"a\";proto=http";
    struct sky_text list = sky_text((const char *)data, size);
    h2o_header_t field = {.name = &H2O_TOKEN_X_FORWARDED_FOR->buf,
                          .value = h2o_iovec_init(list.base, list.len)};
    h2o_headers_t headers = {.entries = &field, .size = 1, .capacity = 1};
    struct sky_forwarded forwarded = {.headers = &headers,
                                      .converts = true,
                                      .outer_host = list,
                                      .outer_proto = list,
                                      .client = SKY_TEXT("127.0.0.1"),
                                      .host = SKY_TEXT("a"),
                                      .proto = SKY_TEXT("http")};
    size_t room = 2 * size + sky_forwarded_bound(&headers) + sizeof(own) + 32, quotes = 0;
    char *written = malloc(room);
    size_t len = (size_t)(sky_forwarded_write(&forwarded, written) - written);

    assert(len <= room);
    for (size_t i = 0; i < len; ++i)
        quotes += written[i] == '"';
    assert(quotes % 2 == 0);
    assert(memcmp(written + len - (sizeof(own) - 1), own, sizeof(own) - 1) == 0);
    free(written);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection may begin with: never more than the input is used, and a header that was read
 * whole is the same when it comes byte by byte. */
#include <assert.h>
#include <stdint.h>

#include "proxy/front/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_text input = sky_text((const char *)data, size);
    struct sky_proxy_header header, again;
    enum sky_proxy_header_result result = sky_proxy_header_parse(input, &header);

    if (result != SKY_PROXY_HEADER_WHOLE)
        return 0;
    assert(header.bytes != 0 && header.bytes <= size && header.bytes <= SKY_PROXY_HEADER_MAX);
    for (size_t len = 0; len < header.bytes; ++len)
        assert(sky_proxy_header_parse(sky_text(input.base, len), &again) == SKY_PROXY_HEADER_MORE);
    assert(sky_proxy_header_parse(sky_text(input.base, header.bytes), &again) == result);
    assert(again.bytes == header.bytes && again.client_len == header.client_len);
    assert(memcmp(&again.client, &header.client, header.client_len) == 0);
    return 0;
}

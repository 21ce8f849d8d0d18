/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzer of sw8-correlation: what was cleaned is clean, and within the document's limits. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "propagation/sw8_correlation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_commas(const char *text, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len; ++i)
        count += text[i] == ',';
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *clean = malloc(size), *again = malloc(size);
    size_t len = sky_correlation_clean(sky_text((const char *)data, size), clean);

    assert(len <= size);
    assert(len == 0 || count_commas(clean, len) < SKY_CORRELATION_MAX_ELEMENTS);
    assert(sky_correlation_clean(sky_text(clean, len), again) == len);
    assert(len == 0 || memcmp(clean, again, len) == 0);
    free(clean);
    free(again);
    return 0;
}

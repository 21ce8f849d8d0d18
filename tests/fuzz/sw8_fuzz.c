/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzer of sw8 and sw8-x: what is accepted must come back the same from build and parse. */
#include <assert.h>
#include <stdint.h>

#include "propagation/base64.h"
#include "propagation/sw8.h"
#include "propagation/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_field(struct sky_text text, const char *storage)
{
    assert(text.len != 0);
    assert(text.base >= storage && text.base + text.len <= storage + SKY_SW8_MAX_BYTES);
    assert(sky_utf8_valid(text));
}

static void check_same(const struct sky_sw8 *a, const struct sky_sw8 *b)
{
    assert(a->sampled == b->sampled && a->span_id == b->span_id);
    assert(sky_text_equal(a->trace_id, b->trace_id));
    assert(sky_text_equal(a->segment_id, b->segment_id));
    assert(sky_text_equal(a->service, b->service));
    assert(sky_text_equal(a->instance, b->instance));
    assert(sky_text_equal(a->endpoint, b->endpoint));
    assert(sky_text_equal(a->address, b->address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char storage[SKY_SW8_MAX_BYTES], again[SKY_SW8_MAX_BYTES], built[SKY_SW8_MAX_BYTES];
    struct sky_text value = sky_text((const char *)data, size);
    struct sky_sw8 sw8, rebuilt;

    (void)sky_sw8x_skips_analysis(value);
    if (!sky_sw8_parse(value, storage, &sw8))
        return 0;
    assert(sw8.span_id >= 0);
    check_field(sw8.trace_id, storage);
    check_field(sw8.segment_id, storage);
    check_field(sw8.service, storage);
    check_field(sw8.instance, storage);
    check_field(sw8.endpoint, storage);
    check_field(sw8.address, storage);
    size_t len = sky_sw8_build(&sw8, built, sizeof(built));
    /* Blanks and leading zeros of the span id are all that may get lost. */
    assert(len != 0 && len <= size);
    assert(sky_sw8_build(&sw8, built, len - 1) == 0);
    assert(sky_sw8_parse(sky_text(built, len), again, &rebuilt));
    check_same(&sw8, &rebuilt);
    return 0;
}

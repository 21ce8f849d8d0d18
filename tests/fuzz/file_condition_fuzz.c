/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions, ranges and codings of any request: a part never leaves the file. */
#include <assert.h>
#include <stdint.h>

#include "proxy/http/coding_weight.h"
#include "proxy/route/file_condition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each line is the next field. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t sizes[] = {0, 1, 100, INT64_MAX};
    struct sky_text lines[7] = {{0}}, left = sky_text((const char *)data, size);

    for (size_t i = 0; i < 7 && left.len != 0; ++i) {
        const char *end = memchr(left.base, '\n', left.len);
        lines[i] = sky_text(left.base, end != NULL ? (size_t)(end - left.base) : left.len);
        size_t used = lines[i].len + (end != NULL);
        left = sky_text(left.base + used, left.len - used);
    }
    struct sky_file_wishes wishes = {lines[1], lines[2], lines[3], lines[4], lines[5], lines[0]};
    for (size_t i = 0; i < 4; ++i) {
        struct sky_file_state state = {sizes[i], 784111777, SKY_TEXT("\"a\"")};
        struct sky_file_part part;
        enum sky_file_verdict verdict = sky_file_judge(&wishes, &state, &part);
        if (verdict == SKY_FILE_WHOLE)
            assert(part.first == 0 && part.length == state.size);
        if (verdict == SKY_FILE_PART)
            assert(part.length != 0 && part.first < state.size &&
                   part.length <= state.size - part.first);
    }
    assert(sky_coding_weight(lines[6], SKY_TEXT("gzip")) <= 1000);
    return 0;
}

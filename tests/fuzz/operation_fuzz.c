/* SPDX-License-Identifier: Apache-2.0 */
/* Operation names and ignore patterns of any target: names keep their bounds and are text. */
#include <assert.h>
#include <stdint.h>

#include "propagation/utf8.h"
#include "proxy/trace/ignore.h"
#include "proxy/trace/operation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(enum sky_operation form, struct sky_text target)
{
    char name[SKY_OPERATION_MAX_BYTES];
    size_t len = sky_operation_name(form, SKY_TEXT("GET"), target, name);

    assert(len != 0 && len <= sizeof(name));
    assert(sky_utf8_valid(sky_text(name, len)));
}

/* The input up to a line break is a pattern, the rest a target; without one all is a target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char pattern[SKY_IGNORE_PATTERN_MAX_BYTES + 1] = "";
    const uint8_t *end = size != 0 ? memchr(data, '\n', size) : NULL;
    struct sky_text target = sky_text((const char *)data, size);

    if (end != NULL && (size_t)(end - data) < sizeof(pattern)) {
        size_t len = (size_t)(end - data);
        memcpy(pattern, data, len);
        target = sky_text((const char *)end + 1, size - len - 1);
    }
    (void)sky_ignore_matches(pattern, target);
    check_name(SKY_OPERATION_FOLDED, target);
    check_name(SKY_OPERATION_PATH, target);
    return 0;
}

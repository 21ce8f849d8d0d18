/* SPDX-License-Identifier: Apache-2.0 */
/* Input in a heap block of exactly its size, so that AddressSanitizer sees a read beyond it. */
#ifndef SKY_TESTS_UNIT_EXACT_H
#define SKY_TESTS_UNIT_EXACT_H

#include <stdlib.h>

#include "propagation/text.h"

/* exact_copy: the caller frees it by exact_free. An empty text still has an address, which must not
 * be read. */
static inline struct sky_text exact_copy(const char *base, size_t len)
{
    char *copy = malloc(len);

    if (copy == NULL && len != 0)
        abort();
    if (len != 0)
        memcpy(copy, base, len);
    return sky_text(copy, len);
}

static inline void exact_free(struct sky_text text)
{
    union {
        const char *view;
        char *owned;
    } base = {text.base};

    free(base.owned);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A length, a query, a newline, a form: what comes out is bounded, and no secret is in it. */
#include <stdlib.h>

#include "proxy/trace/http_params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[] = "key";
    char *names[] = {name};
    struct sky_strings masked = {.items = names, .count = 1};
    h2o_mem_pool_t pool;

    if (size == 0)
        return 0;
    size_t max = data[0];
    const char *text = (const char *)data + 1;
    const char *line = size > 1 ? memchr(text, '\n', size - 1) : NULL;
    size_t query = line != NULL ? (size_t)(line - text) : size - 1;
    size_t skip = line != NULL ? query + 1 : query;
    h2o_mem_init_pool(&pool);
    struct sky_text made = sky_http_params(&pool, sky_text(text, query),
                                           sky_text(text + skip, size - 1 - skip), &masked, max);
    if (made.len > max + 3)
        abort();
    h2o_mem_clear_pool(&pool);
    return 0;
}

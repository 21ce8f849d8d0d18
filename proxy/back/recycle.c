/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/recycle.h"

#include <h2o/socket.h>
#include <stdlib.h>

/* The list of pool chunks is private to libh2o, and holds so many at most (lib/common/memory.c). */
#define POOL_CHUNKS_MAX 16

void sky_recycle_free(h2o_mem_recycle_t *list)
{
    while (list->cnt != 0)
        free(h2o_mem_alloc_recycle(list, 0));
}

void sky_recycle_free_thread(void)
{
    void *chunks[POOL_CHUNKS_MAX];

    /* each new pool takes one chunk from the list, or a fresh one when the list is empty */
    for (size_t i = 0; i < POOL_CHUNKS_MAX; ++i) {
        h2o_mem_pool_t pool;
        h2o_mem_init_pool(&pool);
        h2o_mem_alloc_pool(&pool, 1);
        chunks[i] = pool.chunks;
    }
    for (size_t i = 0; i < POOL_CHUNKS_MAX; ++i)
        free(chunks[i]);
    sky_recycle_free(&h2o_socket_buffer_prototype.allocator);
}

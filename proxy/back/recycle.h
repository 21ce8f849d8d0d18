/* SPDX-License-Identifier: Apache-2.0 */
/* libh2o keeps freed pool chunks and buffers in thread-local lists for reuse, and forgets them when
 * the thread ends. These functions give them back before that. */
#ifndef SKY_PROXY_BACK_RECYCLE_H
#define SKY_PROXY_BACK_RECYCLE_H

#include <h2o/memory.h>

/* sky_recycle_free: frees what one list of the calling thread holds. */
void sky_recycle_free(h2o_mem_recycle_t *list);

/* sky_recycle_free_thread: frees what libh2o's own lists of the calling thread hold: the chunks of
 * memory pools and the buffers of sockets. The last thing that a thread with a loop does. */
void sky_recycle_free_thread(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Counts that outlive a killed process: a page of the file "state", mapped into memory, so that a
 * store is all it takes to keep one. A process that is killed leaves in it how many segments it had
 * made, and how many of them were settled or in the spool; the next reports the difference. (After
 * a power failure the page is as old as the kernel's last write of it.)
 *
 * Its blocks are allocated when it is made, so a full disk cannot fail a store. */
#ifndef SKY_REPORTER_SPOOL_PAGE_H
#define SKY_REPORTER_SPOOL_PAGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A cache line of its own for each writer. */
struct sky_page_count {
    _Alignas(64) _Atomic uint64_t value;
};

struct sky_page {
    char magic[8];
    uint32_t version, maker_count;
    _Atomic uint64_t position; /* sky_page_position */
    /* Numbers of segments. Each has one writer. */
    struct sky_page_count settled; /* confirmed or dropped, and never in the spool */
    struct sky_page_count spooled; /* on disk once; what became of them there is another matter */
    struct sky_page_count made[];  /* by each of so many makers */
};

/* What an earlier process left. */
struct sky_page_legacy {
    uint64_t lost;     /* segments that are nowhere */
    uint64_t position; /* 0: none */
};

/* sky_page_position: up to where what was read back is settled: in which file, and its offset. */
static inline uint64_t sky_page_position(uint64_t file, uint64_t offset)
{
    return file << 32 | (offset & UINT32_MAX);
}

/* sky_page_make: reads what is left of an earlier process, then puts a new page in its place; on a
 * full disk one that may not outlive a kill. NULL with errno set when memory is out. */
struct sky_page *sky_page_make(int folder_fd, size_t maker_count, struct sky_page_legacy *legacy);

void sky_page_destroy(struct sky_page *page);

/* sky_page_store: the count's writer only. */
static inline void sky_page_store(struct sky_page_count *count, uint64_t value)
{
    atomic_store_explicit(&count->value, value, memory_order_relaxed);
}

#endif

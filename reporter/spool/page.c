/* SPDX-License-Identifier: Apache-2.0 */
/* A new page is made beside the old one and takes its name when it is whole; on a full disk it
 * takes the old one's place, or, without one, is in memory alone and does not outlive a kill. */
#include "reporter/spool/page.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "SKYSTATE"
#define VERSION 1
#define NAME "state"
#define NEW_NAME "state.new"

static size_t page_bytes(size_t maker_count)
{
    return sizeof(struct sky_page) + maker_count * sizeof(struct sky_page_count);
}

static uint64_t value_of(const struct sky_page_count *count)
{
    return atomic_load_explicit(&count->value, memory_order_relaxed);
}

static void read_legacy(const struct sky_page *page, size_t bytes, struct sky_page_legacy *legacy)
{
    uint64_t made = 0;

    if (bytes < sizeof(*page) || memcmp(page->magic, MAGIC, sizeof(page->magic)) != 0 ||
        page->version != VERSION || page_bytes(page->maker_count) != bytes)
        return;
    for (size_t i = 0; i < page->maker_count; i++)
        made += value_of(&page->made[i]);
    uint64_t known = value_of(&page->settled) + value_of(&page->spooled);
    if (known <= made)
        legacy->lost = made - known;
    legacy->position = atomic_load_explicit(&page->position, memory_order_relaxed);
}

static void load_legacy(int folder_fd, struct sky_page_legacy *legacy)
{
    struct stat status;
    struct sky_page *copy = NULL;

    int fd = openat(folder_fd, NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size < (1 << 20))
        copy = aligned_alloc(_Alignof(struct sky_page), ((size_t)status.st_size | 63) + 1);
    if (copy != NULL) {
        ssize_t got = pread(fd, copy, (size_t)status.st_size, 0);
        read_legacy(copy, got > 0 ? (size_t)got : 0, legacy);
    }
    free(copy);
    close(fd);
}

static struct sky_page *map(int fd, int flags, size_t maker_count)
{
    size_t bytes = page_bytes(maker_count);
    struct sky_page *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (page == MAP_FAILED)
        return NULL;
    memset(page, 0, bytes);
    memcpy(page->magic, MAGIC, sizeof(page->magic));
    page->version = VERSION;
    page->maker_count = (uint32_t)maker_count;
    return page;
}

/* Beside the old one, whose name it takes. */
static struct sky_page *make_new(int folder_fd, size_t maker_count)
{
    struct sky_page *page = NULL;

    unlinkat(folder_fd, NEW_NAME, 0);
    int fd = openat(folder_fd, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return NULL;
    /* Without blocks of its own a store could kill us with SIGBUS. */
    if (posix_fallocate(fd, 0, (off_t)page_bytes(maker_count)) == 0)
        page = map(fd, MAP_SHARED, maker_count);
    close(fd);
    if (page != NULL && renameat(folder_fd, NEW_NAME, folder_fd, NAME) == 0)
        return page;
    sky_page_destroy(page);
    unlinkat(folder_fd, NEW_NAME, 0);
    return NULL;
}

/* The old one's blocks, when they are as many. */
static struct sky_page *make_in_place(int folder_fd, size_t maker_count)
{
    struct stat status;
    struct sky_page *page = NULL;

    int fd = openat(folder_fd, NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        (size_t)status.st_size == page_bytes(maker_count))
        page = map(fd, MAP_SHARED, maker_count);
    close(fd);
    return page;
}

struct sky_page *sky_page_make(int folder_fd, size_t maker_count, struct sky_page_legacy *legacy)
{
    *legacy = (struct sky_page_legacy){0};
    load_legacy(folder_fd, legacy);
    struct sky_page *page = make_new(folder_fd, maker_count);
    if (page == NULL)
        page = make_in_place(folder_fd, maker_count);
    /* A full disk must not keep what is on it from being sent. */
    if (page == NULL)
        page = map(-1, MAP_PRIVATE | MAP_ANONYMOUS, maker_count);
    if (page != NULL)
        atomic_store_explicit(&page->position, legacy->position, memory_order_relaxed);
    return page;
}

void sky_page_destroy(struct sky_page *page)
{
    if (page != NULL)
        munmap(page, page_bytes(page->maker_count));
}

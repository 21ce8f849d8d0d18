/* SPDX-License-Identifier: Apache-2.0 */
/* A new page is made beside the old one and takes its name when it is whole. */
#include "reporter/spool/page.h"

#include <errno.h>
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

static struct sky_page *map_new(int fd, size_t maker_count)
{
    size_t bytes = page_bytes(maker_count);

    /* Without blocks of its own a store could kill us with SIGBUS. */
    int error = posix_fallocate(fd, 0, (off_t)bytes);
    if (error != 0) {
        errno = error;
        return NULL;
    }
    struct sky_page *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return NULL;
    memcpy(page->magic, MAGIC, sizeof(page->magic));
    page->version = VERSION;
    page->maker_count = (uint32_t)maker_count;
    return page;
}

struct sky_page *sky_page_make(int folder_fd, size_t maker_count, struct sky_page_legacy *legacy)
{
    *legacy = (struct sky_page_legacy){0};
    load_legacy(folder_fd, legacy);
    unlinkat(folder_fd, NEW_NAME, 0);
    int fd = openat(folder_fd, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return NULL;
    struct sky_page *page = map_new(fd, maker_count);
    int error = errno;
    close(fd);
    if (page != NULL) {
        atomic_store_explicit(&page->position, legacy->position, memory_order_relaxed);
        if (renameat(folder_fd, NEW_NAME, folder_fd, NAME) == 0)
            return page;
        error = errno;
        sky_page_destroy(page);
    }
    unlinkat(folder_fd, NEW_NAME, 0);
    errno = error;
    return NULL;
}

void sky_page_destroy(struct sky_page *page)
{
    if (page != NULL)
        munmap(page, page_bytes(page->maker_count));
}

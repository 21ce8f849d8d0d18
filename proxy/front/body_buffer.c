/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body: memory first, then a file in the configured directory.
 *
 * The file never has a name that outlives open (O_TMPFILE, or mkostemp and unlink), so nothing is
 * left behind whatever happens to the process. Writes go to the page cache in pieces of the size of
 * the memory, and are not waited for. */
#include "proxy/front/body_buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST_CAPACITY 4096

/* Held at most for a body of which nothing has come, and for what is to be written next. */
#define STEP_BYTES 65536

void sky_body_buffer_init(struct sky_body_buffer *buffer, const struct sky_body_settings *settings)
{
    *buffer = (struct sky_body_buffer){
        .settings = settings, .limit_bytes = settings->limit_bytes, .fd = -1};
}

static size_t memory_max(const struct sky_body_buffer *buffer)
{
    size_t max = buffer->settings->memory_bytes;

    if (buffer->gathers && max > STEP_BYTES)
        max = STEP_BYTES;
    return max > SKY_BODY_MEMORY_MIN ? max : SKY_BODY_MEMORY_MIN;
}

static bool charge(struct sky_body_buffer *buffer, uint64_t bytes)
{
    struct sky_body_share *share = buffer->settings->share;

    if (share != NULL && !sky_body_share_take(share, bytes))
        return false;
    buffer->charged_bytes += bytes;
    return true;
}

static void discharge(struct sky_body_buffer *buffer, uint64_t bytes)
{
    if (buffer->settings->share != NULL)
        sky_body_share_give_back(buffer->settings->share, bytes);
    buffer->charged_bytes -= bytes;
}

static enum sky_body_result grow(struct sky_body_buffer *buffer, size_t capacity)
{
    if (!charge(buffer, capacity - buffer->memory_capacity))
        return SKY_BODY_OVER_BUDGET;
    char *memory = realloc(buffer->memory, capacity);
    if (memory == NULL)
        return SKY_BODY_FAILED;
    buffer->memory = memory;
    buffer->memory_capacity = capacity;
    return SKY_BODY_OK;
}

enum sky_body_result sky_body_buffer_expect(struct sky_body_buffer *buffer, uint64_t size)
{
    if (size > buffer->limit_bytes)
        return SKY_BODY_TOO_LARGE;
    buffer->gathers = size > memory_max(buffer);
    size_t first = memory_max(buffer) < STEP_BYTES ? memory_max(buffer) : STEP_BYTES;
    if (size < first)
        first = size != 0 ? (size_t)size : 1;
    return grow(buffer, first);
}

static enum sky_body_result failure(void)
{
    return errno == ENOSPC || errno == EDQUOT ? SKY_BODY_NO_SPACE : SKY_BODY_FAILED;
}

/* Where O_TMPFILE is unknown: overlayfs on old kernels, some network file systems. */
static int open_and_unlink(const char *directory)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/skystitch.XXXXXX", directory);

    if (len < 0 || (size_t)len >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd != -1)
        unlink(path);
    return fd;
}

static enum sky_body_result open_file(struct sky_body_buffer *buffer)
{
    const char *directory = buffer->settings->directory;

    buffer->fd = buffer->settings->open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (buffer->fd == -1 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        buffer->fd = open_and_unlink(directory);
    return buffer->fd == -1 ? failure() : SKY_BODY_OK;
}

static enum sky_body_result write_out(struct sky_body_buffer *buffer, struct sky_text bytes)
{
    if (!charge(buffer, bytes.len))
        return SKY_BODY_OVER_BUDGET;
    while (bytes.len != 0) {
        ssize_t written = buffer->settings->write(buffer->fd, bytes.base, bytes.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return failure();
        bytes = sky_text(bytes.base + written, bytes.len - (size_t)written);
        buffer->file_bytes += (uint64_t)written;
    }
    return SKY_BODY_OK;
}

static void shrink(struct sky_body_buffer *buffer, size_t capacity)
{
    char *memory = buffer->memory_capacity > capacity ? realloc(buffer->memory, capacity) : NULL;

    if (memory == NULL)
        return;
    discharge(buffer, buffer->memory_capacity - capacity);
    buffer->memory = memory;
    buffer->memory_capacity = capacity;
}

/* Empties the memory into the file. */
static enum sky_body_result spill(struct sky_body_buffer *buffer)
{
    enum sky_body_result result;

    if (buffer->fd == -1 && (result = open_file(buffer)) != SKY_BODY_OK)
        return result;
    result = write_out(buffer, sky_text(buffer->memory, buffer->memory_size));
    buffer->memory_size = 0;
    buffer->gathers = true;
    shrink(buffer, memory_max(buffer));
    return result;
}

static enum sky_body_result make_room(struct sky_body_buffer *buffer, size_t wanted)
{
    size_t max = memory_max(buffer), capacity = buffer->memory_capacity;

    if (wanted <= capacity - buffer->memory_size)
        return SKY_BODY_OK;
    if (buffer->memory_size + wanted > max) {
        enum sky_body_result result = spill(buffer);
        if (result != SKY_BODY_OK)
            return result;
        max = memory_max(buffer);
        return buffer->memory_capacity < max ? grow(buffer, max) : SKY_BODY_OK;
    }
    if (capacity == 0)
        capacity = FIRST_CAPACITY;
    while (capacity < buffer->memory_size + wanted)
        capacity *= 2;
    return grow(buffer, capacity < max ? capacity : max);
}

enum sky_body_result sky_body_buffer_append(struct sky_body_buffer *buffer, struct sky_text piece)
{
    enum sky_body_result result;

    if (piece.len > sky_body_buffer_room(buffer))
        return SKY_BODY_TOO_LARGE;
    if (piece.len == 0)
        return SKY_BODY_OK;
    if ((result = make_room(buffer, piece.len)) != SKY_BODY_OK)
        return result;
    if (piece.len > buffer->memory_capacity) /* then the memory is empty */
        return write_out(buffer, piece);
    memcpy(buffer->memory + buffer->memory_size, piece.base, piece.len);
    buffer->memory_size += piece.len;
    return SKY_BODY_OK;
}

enum sky_body_result sky_body_buffer_finish(struct sky_body_buffer *buffer, struct sky_text *body)
{
    enum sky_body_result result;

    if (!sky_body_buffer_in_file(buffer)) {
        *body = sky_text(buffer->memory != NULL ? buffer->memory : "", buffer->memory_size);
        return SKY_BODY_OK;
    }
    if ((result = spill(buffer)) != SKY_BODY_OK)
        return result;
    free(buffer->memory);
    discharge(buffer, buffer->memory_capacity);
    buffer->memory = NULL;
    buffer->memory_capacity = 0;

    void *mapped = mmap(NULL, (size_t)buffer->file_bytes, PROT_READ, MAP_SHARED, buffer->fd, 0);
    if (mapped == MAP_FAILED)
        return failure();
    close(buffer->fd);
    buffer->fd = -1;
    buffer->mapped = mapped;
    buffer->mapped_bytes = (size_t)buffer->file_bytes;
    *body = sky_text(mapped, buffer->mapped_bytes);
    return SKY_BODY_OK;
}

void sky_body_buffer_fini(struct sky_body_buffer *buffer)
{
    if (buffer->settings == NULL)
        return;
    discharge(buffer, buffer->charged_bytes);
    free(buffer->memory);
    if (buffer->mapped != NULL)
        munmap(buffer->mapped, buffer->mapped_bytes);
    if (buffer->fd != -1)
        close(buffer->fd);
    *buffer = (struct sky_body_buffer){.settings = NULL};
}

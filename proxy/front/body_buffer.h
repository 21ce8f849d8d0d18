/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body while it comes in: in memory up to a size, then in a file without a name.
 *
 * init -> append ... -> finish -> fini. The memory is heap, since a body may be dropped long before
 * its request; once a file is in use it gathers what is to be written next. */
#ifndef SKY_PROXY_FRONT_BODY_BUFFER_H
#define SKY_PROXY_FRONT_BODY_BUFFER_H

#include <stdint.h>
#include <sys/types.h>

#include "propagation/text.h"
#include "proxy/front/body_budget.h"

enum sky_body_result {
    SKY_BODY_OK,
    SKY_BODY_TOO_LARGE,
    SKY_BODY_NO_SPACE,    /* disk or quota is full */
    SKY_BODY_OVER_BUDGET, /* all bodies together are too large */
    SKY_BODY_FAILED       /* memory, or the file: errno says */
};

/* What is the same for all bodies of a server; borrowed. */
struct sky_body_settings {
    uint64_t limit_bytes;
    size_t memory_bytes; /* at least SKY_BODY_MEMORY_MIN are used */
    const char *directory;
    struct sky_body_share *share; /* NULL: without a bound */
    /* open(2) and write(2), or a test's */
    int (*open)(const char *path, int flags, ...);
    ssize_t (*write)(int fd, const void *bytes, size_t size);
};

#define SKY_BODY_MEMORY_MIN 4096

/* Fields are the buffer's own. */
struct sky_body_buffer {
    const struct sky_body_settings *settings;
    uint64_t limit_bytes; /* that of the settings; may be changed before the first append */
    char *memory;         /* heap */
    size_t memory_size, memory_capacity;
    bool gathers; /* it goes to a file: the memory is for what is to be written next */
    int fd;       /* of the file, or -1 */
    uint64_t file_bytes;
    uint64_t charged_bytes; /* to the share: the memory and what is in the file */
    void *mapped;
    size_t mapped_bytes;
};

void sky_body_buffer_init(struct sky_body_buffer *buffer, const struct sky_body_settings *settings);

/* sky_body_buffer_expect: the size is known: room in memory is made once. Optional, before the
 * first append. */
enum sky_body_result sky_body_buffer_expect(struct sky_body_buffer *buffer, uint64_t size)
    __attribute__((warn_unused_result));

/* sky_body_buffer_append: copies a piece. After anything but OK only fini may follow. */
enum sky_body_result sky_body_buffer_append(struct sky_body_buffer *buffer, struct sky_text piece)
    __attribute__((warn_unused_result));

/* sky_body_buffer_room: how many bytes more the limit lets in; before finish. */
static inline uint64_t sky_body_buffer_room(const struct sky_body_buffer *buffer)
{
    return buffer->limit_bytes - buffer->file_bytes - buffer->memory_size;
}

/* sky_body_buffer_finish: the whole body, valid until fini, not to be written to; base is not NULL
 * even when it is empty. */
enum sky_body_result sky_body_buffer_finish(struct sky_body_buffer *buffer, struct sky_text *body)
    __attribute__((warn_unused_result));

/* sky_body_buffer_in_file: whether the body went to a file. */
static inline bool sky_body_buffer_in_file(const struct sky_body_buffer *buffer)
{
    return buffer->file_bytes != 0;
}

/* sky_body_buffer_fini: also of a zeroed one; twice is once. */
void sky_body_buffer_fini(struct sky_body_buffer *buffer);

#endif

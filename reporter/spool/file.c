/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: open, append groups of records by one writev each, close with an end record; open,
 * fill a buffer, hand records out of it.
 *
 * Failures:
 * - a write fails, or writes a part: the file is cut back to its last whole record.
 * - the process is killed: the end record is missing, the last record may be torn; readers count
 *   what is whole. */
#include "reporter/spool/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define GROUP_PACKETS 256
#define BUFFER_BYTES (256u << 10)

void sky_spool_file_name(char name[SKY_SPOOL_NAME_BYTES], uint64_t number)
{
    snprintf(name, SKY_SPOOL_NAME_BYTES, "%016" PRIx64 ".spool", number);
}

bool sky_spool_file_number(const char *name, uint64_t *number)
{
    char again[SKY_SPOOL_NAME_BYTES];

    if (sscanf(name, "%16" SCNx64, number) != 1)
        return false;
    sky_spool_file_name(again, *number);
    return strcmp(name, again) == 0;
}

/* Writes all, or cuts the file back to where it was. */
static int write_whole(struct sky_spool_writer *writer, struct iovec *parts, int count,
                       size_t bytes)
{
    size_t left = bytes;

    while (left > 0) {
        ssize_t written = writev(writer->fd, parts, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            int error = written < 0 ? errno : EIO;
            /* Where that fails too, readers stop at the torn record. */
            if (ftruncate(writer->fd, (off_t)writer->bytes) == 0)
                (void)lseek(writer->fd, (off_t)writer->bytes, SEEK_SET);
            return error;
        }
        left -= (size_t)written;
        for (; count > 0 && (size_t)written >= parts->iov_len; count--, parts++)
            written -= (ssize_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
    writer->bytes += bytes;
    return 0;
}

int sky_spool_writer_open(struct sky_spool_writer *writer, int folder_fd, uint64_t number)
{
    char name[SKY_SPOOL_NAME_BYTES];
    uint8_t head[SKY_SPOOL_HEAD_BYTES];
    struct iovec part = {head, sizeof(head)};

    assert(writer->fd < 0);
    sky_spool_file_name(name, number);
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    *writer = (struct sky_spool_writer){.fd = fd, .number = number};
    sky_spool_head_write(head);
    int error = write_whole(writer, &part, 1, sizeof(head));
    if (error == 0)
        return 0;
    close(fd);
    writer->fd = -1;
    unlinkat(folder_fd, name, 0);
    return error;
}

static int append_group(struct sky_spool_writer *writer, struct sky_packets *packets,
                        uint64_t max_bytes)
{
    uint8_t heads[GROUP_PACKETS][SKY_RECORD_HEAD_BYTES];
    struct iovec parts[2 * GROUP_PACKETS];
    size_t count = 0, bytes = 0;

    for (struct sky_packet *packet = packets->first;
         packet != NULL && count < GROUP_PACKETS && writer->bytes + bytes < max_bytes;
         packet = packet->next, count++) {
        sky_record_head(heads[count], packet->kind, packet->data, packet->size);
        parts[2 * count] = (struct iovec){heads[count], SKY_RECORD_HEAD_BYTES};
        parts[2 * count + 1] = (struct iovec){packet->data, packet->size};
        bytes += SKY_RECORD_HEAD_BYTES + packet->size;
    }
    int error = write_whole(writer, parts, (int)(2 * count), bytes);
    if (error != 0)
        return error;
    writer->records += count;
    while (count-- > 0)
        free(sky_packets_shift(packets));
    return 0;
}

int sky_spool_writer_append(struct sky_spool_writer *writer, struct sky_packets *packets,
                            uint64_t max_bytes)
{
    int error = 0;

    while (error == 0 && packets->count > 0 && writer->bytes < max_bytes)
        error = append_group(writer, packets, max_bytes);
    return error;
}

int sky_spool_writer_close(struct sky_spool_writer *writer)
{
    uint8_t bytes[SKY_RECORD_END_BYTES];
    struct iovec part = {bytes, sizeof(bytes)};

    sky_record_end(bytes, writer->records);
    int error = write_whole(writer, &part, 1, sizeof(bytes));
    if (close(writer->fd) != 0 && error == 0)
        error = errno;
    writer->fd = -1;
    return error;
}

static int open_to_read(int folder_fd, uint64_t number, int *fd)
{
    char name[SKY_SPOOL_NAME_BYTES];
    uint8_t head[SKY_SPOOL_HEAD_BYTES];
    struct stat status;

    sky_spool_file_name(name, number);
    *fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return errno;
    ssize_t got = pread(*fd, head, sizeof(head), 0);
    if (fstat(*fd, &status) == 0 && S_ISREG(status.st_mode) && got >= 0 &&
        sky_spool_head_read(head, (size_t)got))
        return 0;
    int error = got < 0 ? errno : EILSEQ;
    close(*fd);
    *fd = -1;
    return error;
}

static bool make_room(struct sky_spool_reader *reader, size_t bytes)
{
    size_t capacity = bytes > BUFFER_BYTES ? bytes : BUFFER_BYTES;

    if (reader->begin > 0)
        memmove(reader->buffer, reader->buffer + reader->begin, reader->end - reader->begin);
    reader->end -= reader->begin;
    reader->begin = 0;
    if (reader->capacity >= capacity)
        return true;
    uint8_t *larger = realloc(reader->buffer, capacity);
    if (larger == NULL)
        return false;
    reader->buffer = larger;
    reader->capacity = capacity;
    return true;
}

int sky_spool_reader_open(struct sky_spool_reader *reader, int folder_fd, uint64_t number,
                          uint64_t offset)
{
    assert(reader->fd < 0);
    reader->begin = reader->end = 0;
    if (!make_room(reader, BUFFER_BYTES))
        return ENOMEM;
    int error = open_to_read(folder_fd, number, &reader->fd);
    if (error != 0)
        return error;
    reader->number = number;
    reader->offset = offset > SKY_SPOOL_HEAD_BYTES ? offset : SKY_SPOOL_HEAD_BYTES;
    return 0;
}

/* Until there are that many bytes from the offset on, or the file is at its end. */
static bool fill(struct sky_spool_reader *reader, size_t bytes)
{
    if (!make_room(reader, bytes))
        return false;
    while (reader->end < bytes) {
        ssize_t got = pread(reader->fd, reader->buffer + reader->end,
                            reader->capacity - reader->end, (off_t)(reader->offset + reader->end));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        reader->end += (size_t)got;
    }
    return true;
}

enum sky_spool_read sky_spool_reader_next(struct sky_spool_reader *reader,
                                          struct sky_record *record)
{
    enum sky_record_result result;
    size_t needed, available = reader->end - reader->begin;

    for (;;) {
        size_t before = available;
        result = sky_record_read(reader->buffer + reader->begin, available, record, &needed);
        if (result != SKY_RECORD_SHORT)
            break;
        if (!fill(reader, needed))
            return SKY_SPOOL_READ_FAILED;
        available = reader->end - reader->begin;
        if (available == before)
            return available == 0 ? SKY_SPOOL_READ_END : SKY_SPOOL_READ_BROKEN;
    }
    if (result == SKY_RECORD_BROKEN)
        return SKY_SPOOL_READ_BROKEN;
    if (record->kind == SKY_RECORD_KIND_END)
        return SKY_SPOOL_READ_END;
    reader->begin += needed;
    reader->offset += needed;
    return SKY_SPOOL_READ_RECORD;
}

void sky_spool_reader_close(struct sky_spool_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    free(reader->buffer);
    *reader = (struct sky_spool_reader){.fd = -1};
}

/* By the end record alone. */
static bool measure_by_end(int fd, struct sky_spool_measure *measure)
{
    uint8_t bytes[SKY_RECORD_END_BYTES];
    struct sky_record record;
    size_t needed;

    if (measure->bytes < SKY_SPOOL_HEAD_BYTES + sizeof(bytes))
        return false;
    ssize_t got = pread(fd, bytes, sizeof(bytes), (off_t)(measure->bytes - sizeof(bytes)));
    return got == (ssize_t)sizeof(bytes) &&
           sky_record_read(bytes, sizeof(bytes), &record, &needed) == SKY_RECORD_WHOLE &&
           sky_record_end_count(&record, &measure->records);
}

/* Counts records from the first on; those from `offset` on, if one begins there, else all. */
static int measure_by_reading(int folder_fd, uint64_t number, uint64_t offset,
                              struct sky_spool_measure *measure)
{
    struct sky_spool_reader reader = {.fd = -1};
    struct sky_record record;
    enum sky_spool_read got;

    int error = sky_spool_reader_open(&reader, folder_fd, number, 0);
    if (error != 0)
        return error;
    for (;;) {
        if (reader.offset == offset) {
            measure->offset = offset;
            measure->records = 0;
        }
        got = sky_spool_reader_next(&reader, &record);
        if (got != SKY_SPOOL_READ_RECORD)
            break;
        measure->records++;
    }
    measure->is_torn = got == SKY_SPOOL_READ_BROKEN;
    error = got == SKY_SPOOL_READ_FAILED ? errno : 0;
    sky_spool_reader_close(&reader);
    return error;
}

int sky_spool_file_measure(int folder_fd, uint64_t number, uint64_t offset,
                           struct sky_spool_measure *measure)
{
    struct stat status;
    int fd;

    *measure = (struct sky_spool_measure){.offset = SKY_SPOOL_HEAD_BYTES};
    int error = open_to_read(folder_fd, number, &fd);
    if (error != 0)
        return error;
    bool is_known = false;
    if (fstat(fd, &status) == 0) {
        measure->bytes = (uint64_t)status.st_size;
        is_known = offset <= SKY_SPOOL_HEAD_BYTES && measure_by_end(fd, measure);
    }
    close(fd);
    return is_known ? 0 : measure_by_reading(folder_fd, number, offset, measure);
}

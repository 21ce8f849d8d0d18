/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: write -> files that are written to their end -> read, a chunk of one file at a time
 * -> settle -> the file goes once all of it is settled.
 *
 * Failures:
 * - reporter.spool.max is reached: the oldest file goes, with what was not read of it counted.
 * - a record is damaged: what follows it in its file is lost and counted.
 * - a file cannot be read at the start, or is none of ours: it is left where it is, with a line in
 *   the log.
 * - a write fails: file.c keeps the file whole; the caller tries again later. */
#include "reporter/spool/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reporter/log.h"

#define FILES_PER_SPOOL 16 /* how much of it goes at a time when it is full */
#define MIN_FILE_BYTES (64u << 10)
#define MAX_FILE_BYTES (16u << 20)

static uint64_t file_bytes(uint64_t max_bytes)
{
    uint64_t bytes = max_bytes / FILES_PER_SPOOL;

    return bytes < MIN_FILE_BYTES   ? MIN_FILE_BYTES
           : bytes < MAX_FILE_BYTES ? bytes
                                    : MAX_FILE_BYTES;
}

static void append_file(struct sky_store *store, struct sky_store_file *file)
{
    if (store->newest != NULL)
        store->newest->next = file;
    else
        store->oldest = file;
    store->newest = file;
}

static void unlink_file(const struct sky_store *store, uint64_t number)
{
    char name[SKY_SPOOL_NAME_BYTES];

    sky_spool_file_name(name, number);
    unlinkat(store->folder.fd, name, 0);
}

static void remove_oldest(struct sky_store *store)
{
    struct sky_store_file *file = store->oldest;

    store->oldest = file->next;
    if (store->oldest == NULL)
        store->newest = NULL;
    if (store->reader.fd >= 0 && store->reader.number == file->number)
        sky_spool_reader_close(&store->reader);
    unlink_file(store, file->number);
    store->bytes -= file->bytes;
    free(file);
}

/* What is in the folder at the start. */

static bool adopt_file(struct sky_store *store, uint64_t number, uint64_t offset)
{
    struct sky_spool_measure measure;
    char name[SKY_SPOOL_NAME_BYTES];

    sky_spool_file_name(name, number);
    int error = sky_spool_file_measure(store->folder.fd, number, offset, &measure);
    if (error != 0) {
        sky_log(SKY_LOG_WARN, "reporter.spool.path: %s is left alone: %s", name,
                error == EILSEQ ? "it is not of this version's spool" : strerror(error));
        return true;
    }
    if (measure.is_torn)
        sky_log(SKY_LOG_WARN, "reporter.spool.path: %s has bytes after its last whole segment",
                name);
    if (measure.records == 0) {
        unlink_file(store, number);
        return true;
    }
    struct sky_store_file *file = malloc(sizeof(*file));
    if (file == NULL)
        return false;
    *file = (struct sky_store_file){.number = number,
                                    .bytes = measure.bytes,
                                    .records = measure.records,
                                    .offset = measure.offset};
    append_file(store, file);
    store->bytes += measure.bytes;
    store->records += measure.records;
    return true;
}

static bool has_number(const uint64_t *numbers, size_t count, uint64_t wanted)
{
    for (size_t i = 0; i < count; i++) {
        if ((numbers[i] & UINT32_MAX) == wanted)
            return true;
    }
    return false;
}

/* Files before the one of the position were settled; numbers begin anew in an empty folder, so a
 * position without its file says nothing. */
static bool adopt_files(struct sky_store *store, const uint64_t *numbers, size_t count,
                        uint64_t position)
{
    uint64_t settled_number = position >> 32, offset = position & UINT32_MAX;
    bool is_known = has_number(numbers, count, settled_number);

    for (size_t i = 0; i < count; i++) {
        bool is_settled = is_known && (numbers[i] & UINT32_MAX) < settled_number;
        bool is_begun = is_known && (numbers[i] & UINT32_MAX) == settled_number;
        store->next_number = numbers[i] + 1;
        if (is_settled)
            unlink_file(store, numbers[i]);
        else if (!adopt_file(store, numbers[i], is_begun ? offset : 0))
            return false;
    }
    return true;
}

bool sky_store_open(struct sky_store *store, const char *path, uint64_t max_bytes,
                    size_t maker_count, struct sky_page_legacy *legacy, char *error,
                    size_t error_size)
{
    uint64_t *numbers = NULL;
    size_t count;

    *store = (struct sky_store){.max_bytes = max_bytes,
                                .max_file_bytes = file_bytes(max_bytes),
                                .writer.fd = -1,
                                .reader.fd = -1,
                                .next_number = 1};
    if (!sky_spool_folder_open(&store->folder, path, error, error_size))
        return false;
    int failure = sky_spool_folder_list(&store->folder, &numbers, &count);
    if (failure == 0 &&
        (store->page = sky_page_make(store->folder.fd, maker_count, legacy)) == NULL)
        failure = errno;
    if (failure == 0 && !adopt_files(store, numbers, count, legacy->position))
        failure = ENOMEM;
    free(numbers);
    if (failure == 0)
        return true;
    snprintf(error, error_size, "%s: %s", path, strerror(failure));
    sky_page_destroy(store->page);
    sky_store_close(store);
    return false;
}

/* Writing. */

static int seal(struct sky_store *store)
{
    struct sky_spool_writer *writer = &store->writer;
    struct sky_store_file *file = malloc(sizeof(*file));

    if (file == NULL)
        return ENOMEM;
    uint64_t before = writer->bytes;
    if (store->syncs)
        (void)fdatasync(writer->fd); /* its failure shows at the next write or sync */
    /* A file without its end record is as good, only slower to measure. */
    (void)sky_spool_writer_close(writer);
    *file = (struct sky_store_file){.number = writer->number,
                                    .bytes = writer->bytes,
                                    .records = writer->records,
                                    .offset = SKY_SPOOL_HEAD_BYTES};
    store->bytes += writer->bytes - before;
    append_file(store, file);
    return 0;
}

static bool drop_oldest(struct sky_store *store)
{
    if (store->oldest == NULL)
        return false;
    store->dropped_full += store->oldest->records;
    store->records -= store->oldest->records;
    remove_oldest(store);
    return true;
}

static uint64_t record_bytes(const struct sky_packet *packet)
{
    return SKY_RECORD_HEAD_BYTES + packet->size;
}

static int open_writer(struct sky_store *store, uint64_t bytes)
{
    static struct sky_log_limit full;

    if (bytes < store->max_file_bytes)
        bytes = store->max_file_bytes;
    while (store->bytes + bytes > store->max_bytes && drop_oldest(store))
        sky_log_limited(&full, SKY_LOG_WARN,
                        "reporter: reporter.spool.max is reached, the oldest segments are dropped");
    int error = sky_spool_writer_open(&store->writer, store->folder.fd, store->next_number);
    if (error != 0)
        return error;
    store->next_number++;
    store->bytes += store->writer.bytes;
    return 0;
}

int sky_store_write(struct sky_store *store, struct sky_packets *packets)
{
    struct sky_spool_writer *writer = &store->writer;
    int error = 0;

    while (error == 0 && packets->count > 0) {
        uint64_t bytes = record_bytes(packets->first) + SKY_RECORD_END_BYTES;
        if (bytes + SKY_SPOOL_HEAD_BYTES > store->max_bytes) {
            free(sky_packets_shift(packets));
            store->dropped_full++;
            continue;
        }
        if (writer->fd >= 0 && writer->records > 0 &&
            writer->bytes + bytes > store->max_file_bytes) {
            error = seal(store);
            continue;
        }
        if (writer->fd < 0) {
            error = open_writer(store, bytes + SKY_SPOOL_HEAD_BYTES);
            continue;
        }
        uint64_t bytes_before = writer->bytes, records_before = writer->records;
        error =
            sky_spool_writer_append(writer, packets, store->max_file_bytes - SKY_RECORD_END_BYTES);
        store->bytes += writer->bytes - bytes_before;
        store->records += writer->records - records_before;
    }
    return error;
}

int sky_store_sync(struct sky_store *store)
{
    if (store->writer.fd >= 0 && fdatasync(store->writer.fd) != 0)
        return errno;
    return fsync(store->folder.fd) == 0 ? 0 : errno;
}

/* Reading. */

static struct sky_store_file *first_unread(struct sky_store *store)
{
    for (struct sky_store_file *file = store->oldest; file != NULL; file = file->next) {
        if (file->records > 0)
            return file;
    }
    return NULL;
}

static void give_up(struct sky_store *store, struct sky_store_file *file)
{
    static struct sky_log_limit limit;

    store->dropped_unreadable += file->records;
    store->records -= file->records;
    sky_log_limited(&limit, SKY_LOG_WARN,
                    "reporter: a file of the spool is damaged, %llu segments of it are lost",
                    (unsigned long long)file->records);
    file->records = 0;
}

static void count_read(struct sky_store *store, struct sky_store_file *file)
{
    file->records--;
    store->records--;
    file->offset = store->reader.offset;
}

static int take_record(const struct sky_record *record, struct sky_packets *packets)
{
    struct sky_packet *packet = malloc(sizeof(*packet) + record->payload_bytes);

    if (packet == NULL)
        return ENOMEM;
    packet->size = (uint32_t)record->payload_bytes;
    packet->kind = record->kind;
    memcpy(packet->data, record->payload, record->payload_bytes);
    sky_packets_add(packets, packet);
    return 0;
}

static int read_file(struct sky_store *store, struct sky_store_file *file, size_t bytes,
                     struct sky_packets *packets)
{
    struct sky_record record;
    int error = 0;

    while (error == 0 && file->records > 0 && packets->bytes < bytes) {
        switch (sky_spool_reader_next(&store->reader, &record)) {
        case SKY_SPOOL_READ_RECORD:
            if (record.kind == SKY_PACKET_SEGMENT)
                error = take_record(&record, packets);
            else
                store->dropped_unreadable++; /* a later version's */
            if (error == 0)
                count_read(store, file);
            else
                sky_spool_reader_close(&store->reader); /* to be read again */
            break;
        case SKY_SPOOL_READ_FAILED:
            error = errno;
            if (error == EIO)
                give_up(store, file);
            break;
        default:
            give_up(store, file);
        }
    }
    return error;
}

static int open_reader(struct sky_store *store, struct sky_store_file *file)
{
    if (store->reader.fd >= 0 && store->reader.number == file->number)
        return 0;
    if (store->reader.fd >= 0)
        sky_spool_reader_close(&store->reader);
    return sky_spool_reader_open(&store->reader, store->folder.fd, file->number, file->offset);
}

int sky_store_read(struct sky_store *store, size_t bytes, struct sky_packets *packets,
                   uint64_t *position)
{
    for (;;) {
        struct sky_store_file *file = first_unread(store);
        if (file == NULL && store->writer.fd >= 0 && store->writer.records > 0) {
            int error = seal(store);
            file = first_unread(store);
            if (error != 0 && file == NULL)
                return error;
        }
        if (file == NULL)
            return 0;
        int error = open_reader(store, file);
        if (error == 0)
            error = read_file(store, file, bytes, packets);
        else if (error != ENOMEM && error != EMFILE && error != ENFILE)
            give_up(store, file);
        *position = sky_page_position(file->number, file->offset);
        if (packets->count > 0)
            return 0;
        if (error != 0)
            return error;
    }
}

void sky_store_settle(struct sky_store *store, uint64_t position)
{
    uint64_t number = position >> 32, offset = position & UINT32_MAX;

    atomic_store_explicit(&store->page->position, position, memory_order_relaxed);
    while (store->oldest != NULL) {
        const struct sky_store_file *file = store->oldest;
        uint64_t own = file->number & UINT32_MAX;
        bool is_done =
            own < number || (own == number && file->records == 0 && offset >= file->offset);
        if (!is_done)
            return;
        remove_oldest(store);
    }
}

void sky_store_close(struct sky_store *store)
{
    if (store->writer.fd >= 0) {
        uint64_t number = store->writer.number;
        bool is_empty = store->writer.records == 0;
        if (sky_spool_writer_close(&store->writer) == 0 && is_empty)
            unlink_file(store, number);
    }
    sky_spool_reader_close(&store->reader);
    while (store->oldest != NULL) {
        struct sky_store_file *file = store->oldest;
        store->oldest = file->next;
        free(file);
    }
    store->newest = NULL;
    sky_spool_folder_close(&store->folder);
}

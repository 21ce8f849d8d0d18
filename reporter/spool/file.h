/* SPDX-License-Identifier: Apache-2.0 */
/* One file of the spool: written at its end, read from anywhere. Its name is its number, in hex, so
 * that names sort as ages do. Spool thread only; results are 0 or an errno value. */
#ifndef SKY_REPORTER_SPOOL_FILE_H
#define SKY_REPORTER_SPOOL_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/packets.h"
#include "reporter/spool/record.h"

#define SKY_SPOOL_NAME_BYTES 32

void sky_spool_file_name(char name[SKY_SPOOL_NAME_BYTES], uint64_t number);

/* sky_spool_file_number: false for a name that is none of the spool's. */
bool sky_spool_file_number(const char *name, uint64_t *number);

struct sky_spool_writer {
    int fd; /* -1: none is open */
    uint64_t number, bytes, records;
};

/* sky_spool_writer_open: makes the file, readable by its owner alone. */
int sky_spool_writer_open(struct sky_spool_writer *writer, int folder_fd, uint64_t number);

/* sky_spool_writer_append: writes packets from the front of the list and frees them, until the list
 * is empty or the file has max_bytes or more. After a failure the file ends with the last record
 * that was written whole, and the list begins with the first that was not. */
int sky_spool_writer_append(struct sky_spool_writer *writer, struct sky_packets *packets,
                            uint64_t max_bytes);

/* sky_spool_writer_close: writes the end record; the file is closed whatever the result. */
int sky_spool_writer_close(struct sky_spool_writer *writer);

struct sky_spool_reader {
    int fd;          /* -1: none is open */
    uint64_t number; /* of the file */
    uint64_t offset; /* of the next record */
    /* Bytes of the file from offset on. */
    uint8_t *buffer; /* heap */
    size_t capacity, begin, end;
};

enum sky_spool_read {
    SKY_SPOOL_READ_RECORD,
    SKY_SPOOL_READ_END,    /* no record follows */
    SKY_SPOOL_READ_BROKEN, /* what follows is no record: torn, or damaged */
    SKY_SPOOL_READ_FAILED  /* errno says why */
};

/* sky_spool_reader_open: at that offset, or at the first record when it is below. EILSEQ: it is no
 * file of the spool, or of another version. */
int sky_spool_reader_open(struct sky_spool_reader *reader, int folder_fd, uint64_t number,
                          uint64_t offset);

/* sky_spool_reader_next: the record's bytes are valid until the next call. */
enum sky_spool_read sky_spool_reader_next(struct sky_spool_reader *reader,
                                          struct sky_record *record);

void sky_spool_reader_close(struct sky_spool_reader *reader);

struct sky_spool_measure {
    uint64_t bytes;   /* of the file */
    uint64_t records; /* from the offset on */
    uint64_t offset;  /* as asked for, when a record begins there; else of the first */
    bool is_torn;     /* there are bytes after the last record */
};

/* sky_spool_file_measure: how many records a file has from an offset on. Reads the file only when
 * its end record is missing or it was read in part. */
int sky_spool_file_measure(int folder_fd, uint64_t number, uint64_t offset,
                           struct sky_spool_measure *measure);

#endif

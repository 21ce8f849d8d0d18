/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the spool as one queue on disk. Spool thread only; each function may wait for the
 * disk. */
#ifndef SKY_REPORTER_SPOOL_STORE_H
#define SKY_REPORTER_SPOOL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/spool/file.h"
#include "reporter/spool/folder.h"
#include "reporter/spool/page.h"

/* A file that is written to its end. */
struct sky_store_file {
    struct sky_store_file *next; /* the next newer */
    uint64_t number, bytes;
    uint64_t records; /* that were not read back yet */
    uint64_t offset;  /* from where to read */
};

struct sky_store {
    struct sky_spool_folder folder;
    struct sky_page *page;
    uint64_t max_bytes, max_file_bytes;
    bool syncs; /* files are synced when they are ended; the caller's to set */
    struct sky_store_file *oldest, *newest;
    struct sky_spool_writer writer; /* the newest of all, when it is open */
    struct sky_spool_reader reader; /* of the oldest */
    uint64_t bytes;                 /* of all files */
    uint64_t records;               /* not read back yet */
    uint64_t next_number;
    uint64_t dropped_full, dropped_unreadable; /* records */
};

/* sky_store_open: the folder, its lock, its page, its files. false with a sentence in error:
 * nothing is held then. */
bool sky_store_open(struct sky_store *store, const char *path, uint64_t max_bytes,
                    size_t maker_count, struct sky_page_legacy *legacy, char *error,
                    size_t error_size);

/* sky_store_write: appends packets and frees them, until the list is empty. 0 or an errno value:
 * then those not written are still in the list. */
int sky_store_write(struct sky_store *store, struct sky_packets *packets);

/* sky_store_read: the oldest records that were not read back yet, about that many bytes; `position`
 * is what to settle when they are settled. 0 or an errno value; nothing is left when the list is
 * still empty then. */
int sky_store_read(struct sky_store *store, size_t bytes, struct sky_packets *packets,
                   uint64_t *position);

/* sky_store_settle: what lies before the position is not needed any more. */
void sky_store_settle(struct sky_store *store, uint64_t position);

/* sky_store_sync: what was written is on disk when it returns 0, else an errno value. */
int sky_store_sync(struct sky_store *store);

/* sky_store_close: ends the file under way, and lets go of the lock. The page stays. */
void sky_store_close(struct sky_store *store);

#endif

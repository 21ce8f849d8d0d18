/* SPDX-License-Identifier: Apache-2.0 */
/* The spool's folder: that it may be used at all, that one process alone uses it, and what files
 * are in it. Spool thread only, but for the check. */
#ifndef SKY_REPORTER_SPOOL_FOLDER_H
#define SKY_REPORTER_SPOOL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sky_spool_folder {
    int fd;      /* -1: not open */
    int lock_fd; /* ours until it is closed, or the process is dead */
};

/* sky_spool_folder_open: makes the folder if it is missing (its parent must be there), checks who
 * may write to it, and takes its lock. false, with a sentence in error that names the path and,
 * when another process has the lock, its pid: nothing is held then. */
bool sky_spool_folder_open(struct sky_spool_folder *folder, const char *path, char *error,
                           size_t error_size);

void sky_spool_folder_close(struct sky_spool_folder *folder);

/* sky_spool_folder_check: as open, but makes nothing and takes no lock: a missing folder is right
 * when it could be made. */
bool sky_spool_folder_check(const char *path, char *error, size_t error_size);

/* sky_spool_folder_list: the numbers of its files, oldest first; heap, the caller's. Returns 0 or
 * an errno value. */
int sky_spool_folder_list(const struct sky_spool_folder *folder, uint64_t **numbers, size_t *count);

#endif

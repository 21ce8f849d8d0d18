/* SPDX-License-Identifier: Apache-2.0 */
/* Where the access log goes: standard output, a file that is reopened on demand, or syslog. Used by
 * one thread at a time. */
#ifndef SKY_PROXY_ACCESS_LOG_FILE_H
#define SKY_PROXY_ACCESS_LOG_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SKY_LOG_FILE_SYSLOG "syslog"
#define SKY_LOG_FILE_STDOUT "stdout"

struct sky_log_file {
    const char *path; /* of the file or of syslog's socket; NULL for standard output */
    int fd;           /* -1: none */
    bool is_syslog;
    bool is_regular; /* writes do not block longer than a disk takes */
    bool is_torn;    /* the last line written is not whole */
};

/* sky_log_file_open: target is "stdout", "syslog", "syslog:/path" or an absolute path; borrowed
 * until the close. -1 with a reason in error. */
int sky_log_file_open(struct sky_log_file *file, const char *target, char *error, size_t size);

/* sky_log_file_reopen: the same name anew, for when it was moved away. When that fails the old one
 * stays in use, after a line in the program's log. */
void sky_log_file_reopen(struct sky_log_file *file);

/* sky_log_file_write: whole lines, in one or two pieces (which are changed). Waits while the other
 * side takes nothing, until *deadline_ms (CLOCK_MONOTONIC; 0: none yet), which another thread may
 * set. Returns how many lines were lost, after a line in the program's log. */
size_t sky_log_file_write(struct sky_log_file *file, struct iovec pieces[2], int count,
                          const _Atomic int64_t *deadline_ms);

void sky_log_file_close(struct sky_log_file *file);

#endif

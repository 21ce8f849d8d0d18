/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a folder that a path names.
 *
 * No way leads out of the folder: the kernel resolves the path beneath it (openat2, Linux 5.6).
 * Symbolic links are followed as long as they are relative and stay inside. Names that begin with a
 * dot are not there, nor is what is no regular file. */
#ifndef SKY_PROXY_ROUTE_FILE_FIND_H
#define SKY_PROXY_ROUTE_FILE_FIND_H

#include <stdbool.h>
#include <sys/stat.h>

#include "propagation/text.h"
#include "proxy/route/folder.h"

enum sky_file_result {
    SKY_FILE_FOUND,
    SKY_FILE_DIRECTORY, /* the path names a directory, but has no / at its end */
    SKY_FILE_MISSING,   /* errno says why: ENOENT, or what an administrator should know */
    SKY_FILE_BROKEN     /* it could not be opened or looked at: errno */
};

struct sky_file {
    int fd; /* the caller's */
    struct stat stat;
    const char *coding; /* "br", "gzip", or NULL for the file itself */
};

/* sky_file_find: opens the file. path is relative, decoded and without dot segments, may be empty
 * and may end in /, which stands for the index there (NULL: none). Among name.br and name.gz beside
 * the file, the first that accept_encoding takes is opened in its place. */
enum sky_file_result sky_file_find(struct sky_folder *folder, struct sky_text path,
                                   const char *index, struct sky_text accept_encoding,
                                   struct sky_file *file);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that files are served from, kept open from one request to the next.
 *
 * Each use looks whether its path still names the same folder, so a deployment may replace it: one
 * system call where opening and closing it took two dear ones. One thread only. */
#ifndef SKY_PROXY_ROUTE_FOLDER_H
#define SKY_PROXY_ROUTE_FOLDER_H

#include <sys/types.h>

struct sky_folder {
    const char *path; /* borrowed */
    int fd;           /* -1: not open */
    dev_t device;
    ino_t inode; /* not given to another one while fd is open */
};

void sky_folder_init(struct sky_folder *folder, const char *path);

/* sky_folder_open: the folder's own descriptor of what its path names now; -1 and errno. */
int sky_folder_open(struct sky_folder *folder);

void sky_folder_fini(struct sky_folder *folder);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

void sky_folder_init(struct sky_folder *folder, const char *path)
{
    *folder = (struct sky_folder){.path = path, .fd = -1};
}

void sky_folder_fini(struct sky_folder *folder)
{
    if (folder->fd != -1)
        close(folder->fd);
    folder->fd = -1;
}

static bool is_still_there(const struct sky_folder *folder)
{
    struct stat now;

    return stat(folder->path, &now) == 0 && now.st_dev == folder->device &&
           now.st_ino == folder->inode;
}

int sky_folder_open(struct sky_folder *folder)
{
    struct stat stat;

    if (folder->fd != -1 && is_still_there(folder))
        return folder->fd;
    sky_folder_fini(folder);
    folder->fd = open(folder->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd == -1)
        return -1;
    if (fstat(folder->fd, &stat) != 0) {
        int error = errno;
        sky_folder_fini(folder);
        errno = error;
        return -1;
    }
    folder->device = stat.st_dev;
    folder->inode = stat.st_ino;
    return folder->fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The lock is flock(2) on the file "lock", which also tells the owner's pid; it ends with the
 * process, however that ends. */
#include "reporter/spool/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reporter/spool/file.h"

static bool fail(char *error, size_t size, const char *path, const char *what)
{
    snprintf(error, size, "%s: %s", path, what);
    return false;
}

/* Who may write to the folder could have us send what we never made, or read it. */
static bool check_status(const struct stat *status, const char *path, char *error, size_t size)
{
    if (!S_ISDIR(status->st_mode))
        return fail(error, size, path, "is no folder");
    if (status->st_uid != geteuid() && status->st_uid != 0 && geteuid() != 0)
        return fail(error, size, path, "belongs to another user");
    if ((status->st_mode & S_IWOTH) != 0)
        return fail(error, size, path, "everybody may write to it; chmod o-w it");
    return true;
}

bool sky_spool_folder_check(const char *path, char *error, size_t size)
{
    struct stat status;
    char parent[4097];

    if (stat(path, &status) == 0)
        return check_status(&status, path, error, size) &&
               (access(path, R_OK | W_OK | X_OK) == 0 || fail(error, size, path, strerror(errno)));
    if (errno != ENOENT)
        return fail(error, size, path, strerror(errno));
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    snprintf(parent, sizeof(parent), "%.*s", length > 0 ? (int)length : 1, length > 0 ? path : ".");
    return access(parent, W_OK | X_OK) == 0 || fail(error, size, parent, strerror(errno));
}

static bool take_lock(struct sky_spool_folder *folder, const char *path, char *error, size_t size)
{
    char pid[32] = "";

    folder->lock_fd = openat(folder->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (folder->lock_fd < 0)
        return fail(error, size, path, strerror(errno));
    if (flock(folder->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        int length = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
        /* Only a help for people: the lock is held whether or not it could be written. */
        if (ftruncate(folder->lock_fd, 0) == 0)
            length = (int)pwrite(folder->lock_fd, pid, (size_t)length, 0);
        (void)length;
        return true;
    }
    if (errno != EWOULDBLOCK)
        return fail(error, size, path, strerror(errno));
    ssize_t got = pread(folder->lock_fd, pid, sizeof(pid) - 1, 0);
    pid[got > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    snprintf(error, size, "%s: is in use by process %s", path, pid[0] != '\0' ? pid : "(unknown)");
    return false;
}

bool sky_spool_folder_open(struct sky_spool_folder *folder, const char *path, char *error,
                           size_t size)
{
    struct stat status;

    *folder = (struct sky_spool_folder){-1, -1};
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return fail(error, size, path, strerror(errno));
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return fail(error, size, path, strerror(errno));
    if (fstat(folder->fd, &status) == 0 && check_status(&status, path, error, size) &&
        take_lock(folder, path, error, size))
        return true;
    sky_spool_folder_close(folder);
    return false;
}

void sky_spool_folder_close(struct sky_spool_folder *folder)
{
    if (folder->lock_fd >= 0)
        close(folder->lock_fd);
    if (folder->fd >= 0)
        close(folder->fd);
    *folder = (struct sky_spool_folder){-1, -1};
}

static int by_number(const void *a, const void *b)
{
    uint64_t first, second;

    memcpy(&first, a, sizeof(first));
    memcpy(&second, b, sizeof(second));
    return (first > second) - (first < second);
}

int sky_spool_folder_list(const struct sky_spool_folder *folder, uint64_t **numbers, size_t *count)
{
    size_t room = 0;
    int error = 0, fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;

    *numbers = NULL;
    *count = 0;
    if (directory == NULL) {
        error = errno;
        if (fd >= 0)
            close(fd);
        return error;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        uint64_t number;
        if (!sky_spool_file_number(entry->d_name, &number))
            continue;
        if (*count == room) {
            uint64_t *more = realloc(*numbers, (room = 2 * room + 16) * sizeof(**numbers));
            if (more == NULL) {
                error = ENOMEM;
                break;
            }
            *numbers = more;
        }
        (*numbers)[(*count)++] = number;
    }
    closedir(directory);
    if (*count > 0)
        qsort(*numbers, *count, sizeof(**numbers), by_number);
    return error;
}

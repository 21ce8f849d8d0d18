/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/file_find.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/http/coding_weight.h"

#define SUFFIX_BYTES 4 /* ".gz", ".br" with the NUL */

/* Of one open: more renames than that do not come between. */
#define TRIES_MAX 100

static int open_beneath(int folder, const char *path)
{
    /* O_NONBLOCK: a FIFO must not hold the worker up */
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};

    /* EAGAIN: something was renamed, anywhere, while a link with .. was followed (openat2(2)) */
    for (int tries = 1;; ++tries) {
        int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof(how));
        if (fd != -1 || errno != EAGAIN || tries == TRIES_MAX)
            return fd;
    }
}

static bool is_hidden(struct sky_text path)
{
    bool start = true;

    for (size_t i = 0; i < path.len; ++i) {
        if ((start && path.base[i] == '.') || path.base[i] == '\0')
            return true;
        start = path.base[i] == '/';
    }
    return false;
}

/* Relative, with the index for a directory. False when it is too long. */
static bool make_name(char name[PATH_MAX], struct sky_text path, const char *index)
{
    while (path.len != 0 && path.base[0] == '/')
        path = sky_text(path.base + 1, path.len - 1);
    bool directory = path.len == 0 || path.base[path.len - 1] == '/';
    size_t index_len = directory && index != NULL ? strlen(index) : 0;
    if (path.len + index_len + SUFFIX_BYTES > PATH_MAX)
        return false;
    if (path.len != 0)
        memcpy(name, path.base, path.len);
    if (index_len != 0)
        memcpy(name + path.len, index, index_len);
    name[path.len + index_len] = '\0';
    return true;
}

static enum sky_file_result missing_or_broken(void)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        errno = ENOENT;
        return SKY_FILE_MISSING;
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV: /* a link that leads out */
    case EACCES:
    case ENXIO: /* a socket */
        return SKY_FILE_MISSING;
    default:
        return SKY_FILE_BROKEN;
    }
}

static enum sky_file_result open_plain(int folder, const char *name, struct sky_file *file)
{
    file->fd = open_beneath(folder, name);
    if (file->fd == -1)
        return missing_or_broken();
    enum sky_file_result result = SKY_FILE_FOUND;
    if (fstat(file->fd, &file->stat) != 0) {
        result = SKY_FILE_BROKEN;
    } else if (S_ISDIR(file->stat.st_mode)) {
        result = SKY_FILE_DIRECTORY;
    } else if (!S_ISREG(file->stat.st_mode)) {
        errno = ENOENT;
        result = SKY_FILE_MISSING;
    }
    if (result != SKY_FILE_FOUND)
        close(file->fd);
    return result;
}

static void prefer_compressed(int folder, char *name, struct sky_text accept_encoding,
                              struct sky_file *file)
{
    static const struct {
        const char *coding, *suffix;
    } kinds[] = {{"br", ".br"}, {"gzip", ".gz"}};
    char *end = strchr(name, '\0');

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
        struct sky_file compressed = {.coding = kinds[i].coding};
        if (sky_coding_weight(accept_encoding, sky_text_of(kinds[i].coding)) == 0)
            continue;
        memcpy(end, kinds[i].suffix, SUFFIX_BYTES);
        if (open_plain(folder, name, &compressed) != SKY_FILE_FOUND)
            continue;
        close(file->fd);
        *file = compressed;
        return;
    }
}

enum sky_file_result sky_file_find(struct sky_folder *folder, struct sky_text path,
                                   const char *index, struct sky_text accept_encoding,
                                   struct sky_file *file)
{
    char name[PATH_MAX];

    file->coding = NULL;
    if (is_hidden(path) || !make_name(name, path, index)) {
        errno = ENOENT;
        return SKY_FILE_MISSING;
    }
    int folder_fd = sky_folder_open(folder);
    if (folder_fd == -1)
        return SKY_FILE_BROKEN;
    size_t len = strlen(name);
    if (len == 0 || name[len - 1] == '/') { /* a directory, and no index is wanted */
        errno = ENOENT;
        return SKY_FILE_MISSING;
    }
    enum sky_file_result result = open_plain(folder_fd, name, file);
    if (result == SKY_FILE_FOUND && accept_encoding.len != 0)
        prefer_compressed(folder_fd, name, accept_encoding, file);
    return result;
}

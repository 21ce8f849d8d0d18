/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_socket.h"

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reporter/log.h"

#define PREFIX "skystitch-"
#define SUFFIX ".sock"
/* More entries than this are not the directory that we were given for us alone. */
#define MAX_ENTRIES 4096

/* Path or abstract name ("@" stands for its NUL) to a socket address; 0 when it is too long. */
static socklen_t fill(struct sockaddr_un *sun, const char *address)
{
    size_t len = strlen(address);
    if (len >= sizeof(sun->sun_path))
        return 0;
    memset(sun, 0, sizeof(*sun));
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, address, len);
    if (address[0] != '@')
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    sun->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static bool is_refused(const char *path)
{
    struct sockaddr_un sun;
    socklen_t len = fill(&sun, path);
    int fd = len != 0 ? open_socket() : -1;
    if (fd == -1)
        return false;
    bool refused = connect(fd, (struct sockaddr *)&sun, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static bool is_channel_name(const char *name)
{
    size_t len = strlen(name), suffix = sizeof(SUFFIX) - 1;
    return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0 && len > suffix &&
           strcmp(name + len - suffix, SUFFIX) == 0;
}

/* A killed proxy leaves its files behind. A file under a channel's name is always listening while
 * its proxy lives (see listen_in), so what refuses is nobody's. */
static void remove_stale(const char *directory)
{
    DIR *dir = opendir(directory);
    if (dir == NULL)
        return; /* bind says why */
    struct dirent *entry;
    for (size_t i = 0; i < MAX_ENTRIES && (entry = readdir(dir)) != NULL; i++) {
        char path[SKY_STITCH_ADDRESS_MAX_BYTES];
        if (!is_channel_name(entry->d_name))
            continue;
        int len = snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (len > 0 && (size_t)len < sizeof(path) && is_refused(path))
            unlink(path);
    }
    closedir(dir);
}

static void give_to_group(const char *path, const char *group)
{
    char buffer[16384];
    struct group storage, *found = NULL;

    if (group[0] == '\0')
        return;
    int error = getgrnam_r(group, &storage, buffer, sizeof(buffer), &found);
    if (found == NULL) {
        sky_log(SKY_LOG_ERROR, "stitch.group: no group \"%s\": %s", group,
                error != 0 ? strerror(error) : "unknown name");
        return;
    }
    if (chown(path, (uid_t)-1, found->gr_gid) != 0)
        sky_log(SKY_LOG_ERROR, "stitch.group: %s cannot be given to group \"%s\": %s", path, group,
                strerror(errno));
}

static int bind_and_listen(int fd, const char *address, const char *group)
{
    struct sockaddr_un sun;
    socklen_t len = fill(&sun, address);
    if (len == 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&sun, len) != 0)
        return -1;
    if (address[0] != '@') {
        /* Not by umask, which is the whole process's: nobody can connect before listen. */
        if (chmod(address, 0660) != 0)
            return -1;
        give_to_group(address, group);
    }
    return listen(fd, SOMAXCONN);
}

/* Listens under a hidden name and renames then: another worker's or proxy's remove_stale never sees
 * a channel that is not listening yet. */
static int listen_in(int fd, const char *directory, const char *group, const char *path)
{
    char hidden[SKY_STITCH_ADDRESS_MAX_BYTES];
    int len = snprintf(hidden, sizeof(hidden), "%s/.%s", directory, path + strlen(directory) + 1);
    if (len < 0 || (size_t)len >= sizeof(hidden)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (bind_and_listen(fd, hidden, group) != 0 || rename(hidden, path) != 0) {
        int error = errno;
        unlink(hidden);
        errno = error;
        return -1;
    }
    return 0;
}

int sky_stitch_socket_listen(const char *directory, const char *group, size_t worker_index,
                             char address[SKY_STITCH_ADDRESS_MAX_BYTES])
{
    const size_t size = SKY_STITCH_ADDRESS_MAX_BYTES;
    uint32_t random = 0;

    /* Two proxies in two containers may both be process 1. */
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        random = (uint32_t)getppid();
    int len = directory != NULL
                  ? snprintf(address, size, "%s/" PREFIX "%d-%08" PRIx32 "-%zu" SUFFIX, directory,
                             (int)getpid(), random, worker_index)
                  : snprintf(address, size, "@" PREFIX "%d-%08" PRIx32 "-%zu", (int)getpid(),
                             random, worker_index);
    if (len < 0 || (size_t)len >= size) {
        sky_log(SKY_LOG_ERROR, "stitch.channel: the path of a socket in %s would be too long",
                directory);
        return -1;
    }
    int fd = open_socket();
    if (fd == -1) {
        sky_log(SKY_LOG_ERROR, "stitch.channel: no socket: %s", strerror(errno));
        return -1;
    }
    if (directory != NULL)
        remove_stale(directory);
    int result = directory != NULL ? listen_in(fd, directory, group, address)
                                   : bind_and_listen(fd, address, group);
    if (result == 0)
        return fd;
    sky_log(SKY_LOG_ERROR, "stitch.channel: cannot listen on %s: %s", address, strerror(errno));
    close(fd);
    return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: writev to the file takes everything.
 * Failures: the disk is full, or the reader of a pipe has gone -> the lines are lost and counted,
 * the next ones are tried again. A pipe, terminal or syslog takes nothing -> wait, while the rings
 * fill; at stop only until the deadline. syslog's socket was closed -> connect once more. */
#include "proxy/access/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "reporter/log.h"

#define DEFAULT_SYSLOG "/dev/log"
/* RFC 3164: facility local7, severity informational; 1 KiB there, 8 KiB by usage. */
#define SYSLOG_PRIORITY (23 * 8 + 6)
#define SYSLOG_BYTES 8192

/* What a pipe that polls as writable takes without blocking. Standard output is shared with others,
 * so it cannot be made non-blocking. */
#define PIPE_BYTES 4096

/* Between two looks at the deadline. */
#define POLL_MS 100

static int open_syslog(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd != -1 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Non-blocking also for opening: a FIFO without a reader is an error. */
static int open_path(const struct sky_log_file *file)
{
    if (file->is_syslog)
        return open_syslog(file->path);
    return open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
}

static void use(struct sky_log_file *file, int fd)
{
    struct stat status;
    file->fd = fd;
    file->is_regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

int sky_log_file_open(struct sky_log_file *file, const char *target, char *error, size_t size)
{
    static const char prefix[] = SKY_LOG_FILE_SYSLOG ":";
    *file = (struct sky_log_file){.path = target, .fd = -1};
    if (strcmp(target, SKY_LOG_FILE_STDOUT) == 0) {
        file->path = NULL;
        use(file, STDOUT_FILENO);
        return 0;
    }
    if (strcmp(target, SKY_LOG_FILE_SYSLOG) == 0) {
        file->is_syslog = true;
        file->path = DEFAULT_SYSLOG;
    } else if (strncmp(target, prefix, sizeof(prefix) - 1) == 0) {
        file->is_syslog = true;
        file->path = target + sizeof(prefix) - 1;
    }
    int fd = open_path(file);
    if (fd == -1) {
        snprintf(error, size, "cannot open %s: %s", file->path, strerror(errno));
        return -1;
    }
    use(file, fd);
    return 0;
}

void sky_log_file_reopen(struct sky_log_file *file)
{
    if (file->path == NULL)
        return;
    int fd = open_path(file);
    if (fd == -1) {
        sky_log(SKY_LOG_ERROR, "log.access: cannot reopen %s: %s; the old file stays in use",
                file->path, strerror(errno));
        return;
    }
    sky_log_file_close(file);
    file->is_torn = false;
    use(file, fd);
}

void sky_log_file_close(struct sky_log_file *file)
{
    if (file->path != NULL && file->fd != -1)
        close(file->fd);
    file->fd = -1;
}

/* ---- writing ---- */

static bool is_over(const _Atomic int64_t *deadline_ms)
{
    struct timespec now;
    int64_t deadline = atomic_load_explicit(deadline_ms, memory_order_relaxed);
    if (deadline == 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 >= deadline;
}

/* False with errno ETIMEDOUT when the deadline came first. */
static bool wait_writable(int fd, const _Atomic int64_t *deadline_ms)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
    for (;;) {
        bool over = is_over(deadline_ms);
        if (poll(&pollfd, 1, over ? 0 : POLL_MS) > 0)
            return true; /* an error or a hang-up too: the write says which */
        if (over) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

static size_t count_lines(const struct iovec pieces[2])
{
    size_t lines = 0;
    for (int i = 0; i < 2; i++) {
        const char *at = pieces[i].iov_base, *end = at + pieces[i].iov_len;
        while (at != end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
            lines++;
            at++;
        }
    }
    return lines;
}

/* As writev(2), but waits, and keeps to what cannot block. */
static ssize_t write_some(const struct sky_log_file *file, struct iovec pieces[2],
                          const _Atomic int64_t *deadline_ms)
{
    struct iovec some = pieces[pieces[0].iov_len == 0];
    if (file->is_regular)
        return writev(file->fd, pieces, 2);
    if (!wait_writable(file->fd, deadline_ms))
        return -1;
    if (some.iov_len > PIPE_BYTES)
        some.iov_len = PIPE_BYTES;
    return write(file->fd, some.iov_base, some.iov_len);
}

/* Returns the last of the bytes. */
static char advance(struct iovec pieces[2], size_t bytes)
{
    char last = '\n';
    for (int i = 0; i < 2; i++) {
        size_t step = bytes < pieces[i].iov_len ? bytes : pieces[i].iov_len;
        char *base = pieces[i].iov_base;
        if (step != 0)
            last = base[step - 1];
        pieces[i].iov_base = base + step;
        pieces[i].iov_len -= step;
        bytes -= step;
    }
    return last;
}

/* False with errno. */
static bool write_all(struct sky_log_file *file, struct iovec pieces[2],
                      const _Atomic int64_t *deadline_ms)
{
    while (pieces[0].iov_len + pieces[1].iov_len != 0) {
        ssize_t written = write_some(file, pieces, deadline_ms);
        if (written > 0) {
            file->is_torn = advance(pieces, (size_t)written) != '\n';
        } else if (written == -1 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
    return true;
}

/* What a failure left of a line is ended, lest the next one is taken for a part of it. */
static bool mend(struct sky_log_file *file, const _Atomic int64_t *deadline_ms)
{
    char newline[] = "\n";
    struct iovec pieces[2] = {{newline, 1}, {NULL, 0}};
    return !file->is_torn || write_all(file, pieces, deadline_ms);
}

/* ---- syslog ---- */

static bool send_datagram(struct sky_log_file *file, const char *bytes, size_t len,
                          const _Atomic int64_t *deadline_ms)
{
    bool again = true;
    for (;;) {
        if (file->fd != -1 && send(file->fd, bytes, len, MSG_NOSIGNAL) != -1)
            return true;
        if (file->fd != -1 && (errno == EAGAIN || errno == ENOBUFS)) {
            if (!wait_writable(file->fd, deadline_ms))
                return false;
        } else if (file->fd == -1 || errno != EINTR) {
            if (!again)
                return false;
            again = false;
            sky_log_file_close(file);
            file->fd = open_syslog(file->path);
        }
    }
}

/* Takes the bytes up to and without the next newline, as many as there is room for; returns how
 * many there were in dst. */
static size_t take_line(struct iovec pieces[2], char *dst, size_t room)
{
    size_t len = 0;
    for (int i = 0; i < 2; i++) {
        const char *base = pieces[i].iov_base;
        const char *newline = pieces[i].iov_len != 0 ? memchr(base, '\n', pieces[i].iov_len) : NULL;
        size_t part = newline != NULL ? (size_t)(newline - base) : pieces[i].iov_len;
        size_t kept = part < room - len ? part : room - len;
        if (kept != 0)
            memcpy(dst + len, base, kept);
        len += kept;
        pieces[i].iov_base = (char *)pieces[i].iov_base + part + (newline != NULL);
        pieces[i].iov_len -= part + (newline != NULL);
        if (newline != NULL)
            break;
    }
    return len;
}

static size_t send_lines(struct sky_log_file *file, struct iovec pieces[2],
                         const _Atomic int64_t *deadline_ms)
{
    size_t lost = 0;
    int error = 0;
    while (pieces[0].iov_len + pieces[1].iov_len != 0) {
        char datagram[SYSLOG_BYTES];
        time_t now = time(NULL);
        struct tm local;
        localtime_r(&now, &local);
        size_t len = (size_t)snprintf(datagram, sizeof(datagram), "<%d>", SYSLOG_PRIORITY);
        len += strftime(datagram + len, sizeof(datagram) - len, "%b %e %H:%M:%S ", &local);
        len += (size_t)snprintf(datagram + len, sizeof(datagram) - len,
                                "skystitch[%d]: ", (int)getpid());
        len += take_line(pieces, datagram + len, sizeof(datagram) - len);
        if (!send_datagram(file, datagram, len, deadline_ms)) {
            error = errno;
            lost++;
        }
    }
    errno = error;
    return lost;
}

size_t sky_log_file_write(struct sky_log_file *file, struct iovec pieces[2], int count,
                          const _Atomic int64_t *deadline_ms)
{
    static struct sky_log_limit limit;
    size_t lost = 0;
    if (count < 2)
        pieces[1] = (struct iovec){NULL, 0};
    if (file->is_syslog)
        lost = send_lines(file, pieces, deadline_ms);
    else if (!mend(file, deadline_ms) || !write_all(file, pieces, deadline_ms))
        lost = count_lines(pieces);
    if (lost != 0)
        sky_log_limited(&limit, SKY_LOG_ERROR, "log.access: %zu lines lost: %s: %s", lost,
                        file->path != NULL ? file->path : SKY_LOG_FILE_STDOUT, strerror(errno));
    return lost;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/front/inherited.h"
#include "proxy/front/tls.h"

#define BACKLOG 4096

/* Of the socket of a file. */
static const char *hint_of_path(const char *path, int error)
{
    struct stat status;
    if (error == EADDRINUSE && lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return "what is there is no socket: remove it or choose another path";
    return error == ENOENT ? "its folder has to be there" : NULL;
}

static const char *hint(const struct sky_address *address, int error)
{
    const char *of_path =
        address->host == NULL
            ? hint_of_path(((const struct sockaddr_un *)&address->sockaddr)->sun_path, error)
            : NULL;
    if (of_path != NULL)
        return of_path;
    switch (error) {
    case EADDRINUSE:
        return "another process listens there: stop it or choose another address";
    case EACCES:
        return "no permission: use a port from 1024 on, grant CAP_NET_BIND_SERVICE, or mind the "
               "folder's mode";
    case EADDRNOTAVAIL:
        return "this machine has no such address";
    default:
        return "check the address";
    }
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* shared: SO_REUSEPORT before bind, so that it may join the first socket of the address. The first
 * one sets it after bind: then the kernel tells a foreign owner of the port from our own. */
static int open_one(const struct sockaddr *sockaddr, socklen_t len, bool shared)
{
    int fd = socket(sockaddr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    bool tcp = sockaddr->sa_family != AF_UNIX;
    if (tcp && set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0)
        goto fail;
    if (tcp && shared && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
        goto fail;
    /* "::" serves IPv4 too, whatever the host's bindv6only says */
    if (sockaddr->sa_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) != 0)
        goto fail;
    if (bind(fd, sockaddr, len) != 0)
        goto fail;
    if (tcp && !shared && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
        goto fail;
    if (listen(fd, BACKLOG) != 0)
        goto fail;
    return fd;
fail:;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int add(struct sky_listener *listener, int fd)
{
    int *fds = realloc(listener->fds, (listener->fd_count + 1) * sizeof(*fds));
    if (fds == NULL) {
        close(fd);
        errno = ENOMEM;
        return -1;
    }
    listener->fds = fds;
    listener->fds[listener->fd_count++] = fd;
    return 0;
}

/* What this process was started with, a copy for each worker that would have none; false when
 * there is nothing at this address. */
static bool adopt(struct sky_listener *listener, const struct sockaddr *sockaddr, int *result)
{
    int *fds;
    bool shared;
    size_t count = sky_inherited_take(sockaddr, &fds, &shared);
    *result = 0;
    for (size_t i = 0; i < count || (count != 0 && i < listener->workers); ++i) {
        int fd = i < count ? fds[i] : fcntl(fds[i % count], F_DUPFD_CLOEXEC, 0);
        if (fd == -1 || add(listener, fd) != 0)
            *result = -1;
    }
    /* the next address of the same name begins with the first worker again */
    while (count != 0 && listener->fd_count % listener->workers != 0 && *result == 0) {
        int fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
        if (fd == -1 || add(listener, fd) != 0)
            *result = -1;
    }
    listener->shared |= shared;
    free(fds);
    return count != 0;
}

static int open_tcp(struct sky_listener *listener, const struct sockaddr *sockaddr, socklen_t len)
{
    int result;
    if (adopt(listener, sockaddr, &result))
        return result;
    for (size_t i = 0; i < listener->workers; ++i) {
        int fd = open_one(sockaddr, len, i != 0 || listener->joining);
        if (fd == -1 || add(listener, fd) != 0)
            return -1;
    }
    return 0;
}

/* A socket file that a dead process left behind refuses connections; only such a one is removed.
 * One whose backlog is full has an owner, who is not waited for. */
static void remove_stale(const struct sockaddr_un *sockaddr, socklen_t len)
{
    struct stat status;
    if (lstat(sockaddr->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return;
    if (connect(fd, (const struct sockaddr *)sockaddr, len) != 0 && errno == ECONNREFUSED)
        unlink(sockaddr->sun_path);
    close(fd);
}

static int open_unix(struct sky_listener *listener)
{
    const struct sky_address *address = listener->address;
    int result;
    if (adopt(listener, (const struct sockaddr *)&address->sockaddr, &result)) {
        listener->inherits_file = !listener->shared;
        return result;
    }
    remove_stale((const struct sockaddr_un *)&address->sockaddr, address->sockaddr_len);
    int fd = open_one((const struct sockaddr *)&address->sockaddr, address->sockaddr_len, false);
    if (fd == -1)
        return -1;
    listener->has_file = true;
    if (add(listener, fd) != 0)
        return -1;
    for (size_t i = 1; i < listener->workers; ++i) {
        int copy = fcntl(listener->fds[0], F_DUPFD_CLOEXEC, 0);
        if (copy == -1 || add(listener, copy) != 0)
            return -1;
    }
    return 0;
}

/* ":port": every address of the machine, by one dual-stack socket where there is IPv6. */
static int open_any(struct sky_listener *listener)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6,
                                .sin6_port = htons(listener->address->port),
                                .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(listener->address->port)};
    int result;
    if (adopt(listener, (struct sockaddr *)&any4, &result))
        return result;
    if (open_tcp(listener, (struct sockaddr *)&any6, sizeof(any6)) == 0)
        return 0;
    if (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
        return -1;
    return open_tcp(listener, (struct sockaddr *)&any4, sizeof(any4));
}

static int open_name(struct sky_listener *listener, char *error, size_t error_size)
{
    const struct sky_address *address = listener->address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", address->port);
    int rc = getaddrinfo(address->host, port, &hints, &found);
    if (rc != 0) {
        snprintf(error, error_size, "cannot listen on %s: no address for this name (%s)",
                 address->text, gai_strerror(rc));
        errno = 0;
        return -1;
    }
    int result = 0;
    for (const struct addrinfo *a = found; a != NULL && result == 0; a = a->ai_next)
        result = open_tcp(listener, a->ai_addr, a->ai_addrlen);
    int saved = errno;
    freeaddrinfo(found);
    errno = saved;
    return result;
}

static int open_all(struct sky_listener *listener, char *error, size_t error_size)
{
    const struct sky_address *address = listener->address;
    if (address->host == NULL)
        return open_unix(listener);
    if (address->host[0] == '\0')
        return open_any(listener);
    if (address->sockaddr_len != 0)
        return open_tcp(listener, (const struct sockaddr *)&address->sockaddr,
                        address->sockaddr_len);
    return open_name(listener, error, error_size);
}

int sky_listener_open(struct sky_listener *listener, const struct sky_address *address,
                      size_t workers, bool joining, char *error, size_t error_size)
{
    *listener = (struct sky_listener){.address = address, .workers = workers, .joining = joining};
    error[0] = '\0';
    if (open_all(listener, error, error_size) == 0)
        return 0;
    int saved = errno;
    if (error[0] == '\0')
        snprintf(error, error_size, "cannot listen on %s: %s (%s)", address->text, strerror(saved),
                 hint(address, saved));
    sky_listener_close(listener);
    return -1;
}

void sky_listener_fence(int fd)
{
    enum { FLAGS_OFFSET = 13, SYN_AND_ACK = 0x12, SYN = 0x02 }; /* RFC 9293, 3.1 */
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_OFFSET),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_AND_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
    /* where it cannot be set (a unix socket, a seccomp profile) the close is as abrupt as ever */
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

void sky_listener_own_file(struct sky_listener *listener)
{
    listener->has_file |= listener->inherits_file;
}

void sky_listener_remove_file(struct sky_listener *listener)
{
    if (listener->has_file)
        unlink(((const struct sockaddr_un *)&listener->address->sockaddr)->sun_path);
    listener->has_file = false;
}

void sky_listener_close(struct sky_listener *listener)
{
    for (size_t i = 0; i < listener->fd_count && !listener->taken; ++i)
        close(listener->fds[i]);
    sky_listener_remove_file(listener);
    free(listener->fds);
    sky_tls_destroy(listener->tls);
    *listener = (struct sky_listener){0};
}

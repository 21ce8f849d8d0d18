/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/inherited.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/front/tickets.h"
#include "reporter/log.h"

#define FIRST_OF_SYSTEMD 3
#define MAX_SOCKETS 1024 /* more are not of this world */

static struct {
    struct inherited {
        int fd;
        bool shared, taken;
        bool left; /* nobody took it, and only the process before has it now */
        struct sockaddr_storage address;
    } * sockets;
    size_t count;
    int line;
    pid_t before; /* the process whose place this one takes */
} state = {.line = -1};

static bool listens(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

static void add(int fd, bool shared)
{
    if (state.count == MAX_SOCKETS || !listens(fd)) {
        sky_log(SKY_LOG_WARN, "inherited descriptor %d is no listening socket", fd);
        return;
    }
    struct inherited *grown = realloc(state.sockets, (state.count + 1) * sizeof(*state.sockets));
    if (grown == NULL)
        return;
    state.sockets = grown;
    struct inherited *one = &state.sockets[state.count++];
    *one = (struct inherited){.fd = fd, .shared = shared};
    socklen_t len = sizeof(one->address);
    getsockname(fd, (struct sockaddr *)&one->address, &len);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void read_systemd(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (pid != NULL && count != NULL && strtol(pid, NULL, 10) == (long)getpid()) {
        long n = strtol(count, NULL, 10);
        for (long i = 0; i < n && i < MAX_SOCKETS; ++i)
            add(FIRST_OF_SYSTEMD + (int)i, true);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static void read_upgrade(void)
{
    const char *value = getenv(SKY_INHERITED_VARIABLE);
    if (value == NULL)
        return;
    char *at;
    state.before = getppid();
    state.line = (int)strtol(value, &at, 10);
    fcntl(state.line, F_SETFD, FD_CLOEXEC);
    while (*at == ':' || *at == ',') {
        char *end;
        int fd = (int)strtol(at + 1, &end, 10);
        if (end == at + 1)
            break;
        bool shared = *end == 's';
        add(fd, shared);
        at = end + shared;
    }
    if (*at == ';' && !sky_tickets_take_over((int)strtol(at + 1, NULL, 10)))
        sky_log(SKY_LOG_WARN, "the keys of TLS tickets cannot be taken over: sessions begin anew");
    unsetenv(SKY_INHERITED_VARIABLE);
    unsetenv("WATCHDOG_PID"); /* the process's before */
}

void sky_inherited_read(void)
{
    read_systemd();
    read_upgrade();
}

int sky_inherited_line(void)
{
    return state.line;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr *address)
{
    if (a->ss_family != address->sa_family)
        return false;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)address;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)address;
        return x->sin6_port == y->sin6_port &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
    }
    return strcmp(((const struct sockaddr_un *)(const void *)a)->sun_path,
                  ((const struct sockaddr_un *)(const void *)address)->sun_path) == 0;
}

size_t sky_inherited_take(const struct sockaddr *address, int **fds, bool *shared)
{
    size_t found = 0;
    *fds = NULL;
    *shared = false;
    for (size_t i = 0; i < state.count; ++i) {
        struct inherited *one = &state.sockets[i];
        if (one->taken || !same_address(&one->address, address))
            continue;
        int *grown = realloc(*fds, (found + 1) * sizeof(**fds));
        if (grown == NULL)
            break;
        *fds = grown;
        (*fds)[found++] = one->fd;
        one->taken = true;
        *shared |= one->shared;
    }
    return found;
}

char *sky_inherited_taken(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < state.count; ++i)
        if (state.sockets[i].taken)
            fprintf(out, "%d,", state.sockets[i].fd);
    fclose(out);
    return text;
}

static void leave(struct inherited *one)
{
    const struct sockaddr_un *file = (const void *)&one->address;
    one->taken = true;
    one->left = !one->shared;
    if (one->shared)
        sky_log(SKY_LOG_WARN,
                "socket %d of systemd is at no address of listen or admin.listen: not used",
                one->fd);
    else if (file->sun_family == AF_UNIX)
        unlink(file->sun_path); /* the process before leaves the names to this one */
    close(one->fd);
}

void sky_inherited_leave_rest(void)
{
    for (size_t i = 0; i < state.count; ++i)
        if (!state.sockets[i].taken)
            leave(&state.sockets[i]);
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    if (address->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    return 0;
}

bool sky_inherited_left(uint16_t port)
{
    /* a process that ends is its children's parent no more */
    if (state.before == 0 || getppid() != state.before)
        return false;
    for (size_t i = 0; i < state.count; ++i)
        if (state.sockets[i].left && port != 0 && port_of(&state.sockets[i].address) == port)
            return true;
    return false;
}

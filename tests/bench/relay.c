/* SPDX-License-Identifier: Apache-2.0 */
/* The floor under every proxy: copies bytes between a client's connection and one of its own to the
 * origin, and looks at none of them. Usage: relay PORT; prints the port it listens on (127.0.0.1).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One direction's source; its peer is the other end. A pair lives until both ends were seen closed.
 */
struct end {
    int fd;
    struct end *peer;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void add(int epoll, struct end *end)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    int on = 1;

    setsockopt(end->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, end->fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_pair(int epoll, int listener, uint16_t origin_port)
{
    struct sockaddr_in origin = loopback(origin_port);
    struct end *pair = calloc(2, sizeof(*pair));
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK), server;

    if (client < 0 || pair == NULL) {
        free(pair);
        return;
    }
    server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&origin, sizeof(origin)) != 0)
        die("connect");
    pair[0] = (struct end){client, &pair[1]};
    pair[1] = (struct end){server, &pair[0]};
    add(epoll, &pair[0]);
    add(epoll, &pair[1]);
}

/* Short messages fit the socket's buffer; one that does not ends the pair. */
static void copy(struct end *from)
{
    char bytes[16384];
    ssize_t n = recv(from->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 && send(from->peer->fd, bytes, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n)
        return;
    /* The pair is left allocated: an event of the other end may be in the batch under way. */
    close(from->fd);
    close(from->peer->fd);
    from->fd = from->peer->fd = -1;
}

int main(int argc, char **argv)
{
    struct epoll_event events[64], event = {.events = EPOLLIN};
    uint16_t origin_port = (uint16_t)(argc == 2 ? atoi(argv[1]) : 0);
    int listener = listen_anywhere(), epoll = epoll_create1(0);

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; ++i) {
            struct end *end = events[i].data.ptr;
            if (end == NULL)
                accept_pair(epoll, listener, origin_port);
            else if (end->fd >= 0)
                copy(end);
        }
    }
}

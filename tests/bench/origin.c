/* SPDX-License-Identifier: Apache-2.0 */
/* The server behind every contender: keep-alive, one short answer, as cheap as can be. A request
 * that carries sw8-stitch is answered as by an app with the helper, so that stitching is part of
 * the cost. Usage: origin; prints the port it listens on (127.0.0.1). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD \
    "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
#define BODY "\r\nhello, world.\n"

static const char plain[] = HEAD BODY;
static const char stitched[] = HEAD "sw8-stitch: 1;7001;120;310;0;shop.views.index;GET:/\r\n" BODY;

struct connection {
    int fd;
    size_t len;
    char bytes[16384];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_one(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), on = 1;
    struct connection *connection = fd >= 0 ? calloc(1, sizeof(*connection)) : NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    if (connection == NULL)
        return;
    connection->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

/* Answers each whole request in the buffer; false when the connection is of no more use. */
static bool answer(struct connection *connection)
{
    for (;;) {
        char *end = memmem(connection->bytes, connection->len, "\r\n\r\n", 4);
        if (end == NULL)
            return connection->len < sizeof(connection->bytes);
        size_t len = (size_t)(end - connection->bytes) + 4;
        bool stitch = memmem(connection->bytes, len, "\r\nsw8-stitch:", 13) != NULL;
        const char *text = stitch ? stitched : plain;
        size_t size = stitch ? sizeof(stitched) - 1 : sizeof(plain) - 1;
        if (send(connection->fd, text, size, MSG_NOSIGNAL) != (ssize_t)size)
            return false;
        connection->len -= len;
        memmove(connection->bytes, connection->bytes + len, connection->len);
    }
}

static void serve(struct connection *connection)
{
    ssize_t n = recv(connection->fd, connection->bytes + connection->len,
                     sizeof(connection->bytes) - connection->len, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        connection->len += (size_t)n;
        if (answer(connection))
            return;
    }
    close(connection->fd);
    free(connection);
}

int main(void)
{
    int listener = listen_anywhere(), epoll = epoll_create1(0);
    struct epoll_event events[64], event = {.events = EPOLLIN};

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; ++i) {
            if (events[i].data.ptr == NULL)
                accept_one(epoll, listener);
            else
                serve(events[i].data.ptr);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The server behind every contender: keep-alive, one short answer, as cheap as can be. A request
 * that carries sw8-stitch is answered as by an app with the helper, so that stitching is part of
 * the cost. Bodies must come with Content-Length and are thrown away.
 * Usage: origin [SOCKET]; prints the port it listens on (127.0.0.1), and listens on the unix socket
 * as well. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD \
    "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
#define BODY "\r\nhello, world.\n"

static const char plain[] = HEAD BODY;
static const char stitched[] = HEAD "sw8-stitch: 1;7001;120;310;0;shop.views.index;GET:/\r\n" BODY;

struct connection {
    int fd;
    size_t len;
    size_t body_bytes; /* that are still to come */
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

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        die(path);
    }
    strcpy(address.sun_path, path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 1024) != 0)
        die(path);
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

static size_t content_length(const char *head, size_t len)
{
    static const char name[] = "\r\ncontent-length:";

    for (const char *at = head; at + sizeof(name) < head + len; ++at)
        if (*at == '\r' && strncasecmp(at, name, sizeof(name) - 1) == 0)
            return strtoull(at + sizeof(name) - 1, NULL, 10);
    return 0;
}

/* Answers the request whose head is the first `len` bytes; its body has been thrown away. */
static bool answer(struct connection *connection, size_t len)
{
    bool stitch = memmem(connection->bytes, len, "\r\nsw8-stitch:", 13) != NULL;
    const char *text = stitch ? stitched : plain;
    size_t size = stitch ? sizeof(stitched) - 1 : sizeof(plain) - 1;

    if (send(connection->fd, text, size, MSG_NOSIGNAL) != (ssize_t)size)
        return false;
    connection->len -= len;
    memmove(connection->bytes, connection->bytes + len, connection->len);
    return true;
}

/* Takes each head in the buffer, and what is there of its body; false when the connection is of no
 * more use. While a body comes in, the buffer holds the head and nothing else. */
static bool take(struct connection *connection)
{
    for (;;) {
        char *end = memmem(connection->bytes, connection->len, "\r\n\r\n", 4);
        if (end == NULL)
            return connection->len < sizeof(connection->bytes);
        size_t len = (size_t)(end - connection->bytes) + 4, here = connection->len - len;
        size_t body = content_length(connection->bytes, len);
        if (body > here) {
            connection->body_bytes = body - here;
            connection->len = len;
            return true;
        }
        connection->len -= body;
        memmove(connection->bytes + len, connection->bytes + len + body, here - body);
        if (!answer(connection, len))
            return false;
    }
}

/* Reads on, into the buffer or, if a body is coming in, away; false at the end. */
static bool more(struct connection *connection)
{
    static char away[262144];
    bool body = connection->body_bytes > 0;
    size_t room = sizeof(connection->bytes) - connection->len;
    if (body)
        room = connection->body_bytes < sizeof(away) ? connection->body_bytes : sizeof(away);
    ssize_t n = recv(connection->fd, body ? away : connection->bytes + connection->len, room, 0);

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (!body) {
        connection->len += (size_t)n;
        return take(connection);
    }
    connection->body_bytes -= (size_t)n;
    return connection->body_bytes > 0 || answer(connection, connection->len);
}

static void serve(struct connection *connection)
{
    if (more(connection))
        return;
    close(connection->fd);
    free(connection);
}

int main(int argc, char **argv)
{
    int listeners[] = {listen_anywhere(), argc > 1 ? listen_at(argv[1]) : -1};
    int epoll = epoll_create1(0);
    struct epoll_event events[64];

    for (size_t i = 0; i < 2 && listeners[i] >= 0; ++i) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listeners[i], &event) != 0)
            die("epoll");
    }
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; ++i) {
            int *listener = events[i].data.ptr;
            if (listener == &listeners[0] || listener == &listeners[1])
                accept_one(epoll, *listener);
            else
                serve(events[i].data.ptr);
        }
    }
}

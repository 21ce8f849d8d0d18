/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/exchange_peers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/exchange_bench.h"

#define PATIENCE_S 10

static int with_patience(int fd)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

void client_connect_by(struct bench *bench, int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    assert_int_equal(getsockname(bench->listen_fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(with_patience(fd), (struct sockaddr *)&address, len), 0);
}

int client_connect(struct bench *bench)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    client_connect_by(bench, fd);
    return fd;
}

int app_accept(struct bench *bench)
{
    with_patience(bench->app_fd);
    return with_patience(accept4(bench->app_fd, NULL, NULL, SOCK_CLOEXEC));
}

size_t app_fill_backlog(struct bench *bench, int fds[8])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    size_t count = 0;

    assert_int_equal(getsockname(bench->app_fd, (struct sockaddr *)&address, &len), 0);
    for (; count < 8; ++count) {
        fds[count] = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[count], (struct sockaddr *)&address, len) == -1) {
            assert_int_equal(errno, EAGAIN);
            close(fds[count]);
            return count;
        }
    }
    fail_msg("the backlog takes more and more");
    return 0;
}

void send_bytes(int fd, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes += sent;
        len -= (size_t)sent;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

void *send_in_thread(void *arg)
{
    struct sending *sending = arg;

    with_patience(sending->fd);
    while (sending->len != 0) {
        ssize_t sent = send(sending->fd, sending->bytes, sending->len, MSG_NOSIGNAL);
        if (sent == -1)
            break;
        sending->bytes += sent;
        sending->len -= (size_t)sent;
    }
    return NULL;
}

char *read_exactly(int fd, size_t len)
{
    char *bytes = malloc(len + 1);

    for (size_t have = 0; have < len;) {
        ssize_t got = recv(fd, bytes + have, len - have, 0);
        assert_true(got > 0);
        have += (size_t)got;
    }
    bytes[len] = '\0';
    return bytes;
}

/* A growing text. */
struct text {
    char *bytes;
    size_t len;
};

/* One read more; false at the end of the stream, also a hard one. */
static bool read_more(int fd, struct text *text)
{
    text->bytes = realloc(text->bytes, text->len + 65537);
    ssize_t got = recv(fd, text->bytes + text->len, 65536, 0);
    if (got == -1 && errno == EAGAIN)
        fail_msg("nothing came for %d s, only: %.*s", PATIENCE_S, (int)text->len, text->bytes);
    text->len += got > 0 ? (size_t)got : 0;
    text->bytes[text->len] = '\0';
    return got > 0;
}

/* Reads up to the empty line. Returns the bytes of the head, 0 when the stream ended before it. */
static size_t read_head(int fd, struct text *text)
{
    for (;;) {
        const char *end = text->len != 0 ? memmem(text->bytes, text->len, "\r\n\r\n", 4) : NULL;
        if (end != NULL)
            return (size_t)(end - text->bytes) + 4;
        if (!read_more(fd, text))
            return 0;
    }
}

static size_t length_of(const char *head)
{
    const char *field = strcasestr(head, "\r\nContent-Length:");

    return field != NULL ? strtoul(field + 17, NULL, 10) : SIZE_MAX;
}

char *read_request(int fd)
{
    struct text text = {0};
    size_t head = read_head(fd, &text);

    assert_int_not_equal(head, 0);
    size_t length = length_of(text.bytes);
    while (length != SIZE_MAX && text.len < head + length)
        assert_true(read_more(fd, &text));
    return text.bytes;
}

/* Decodes in place what came so far; true when the last chunk is there. */
static bool decode_chunks(const char *from, char *to, size_t *len)
{
    *len = 0;
    for (;;) {
        char *end;
        size_t size = strtoul(from, &end, 16);
        if (end == from || end[0] != '\r' || end[1] != '\n')
            return false;
        from = end + 2;
        if (size == 0)
            return strncmp(from, "\r\n", 2) == 0;
        if (strnlen(from, size + 2) < size + 2)
            size = strnlen(from, size);
        memmove(to + *len, from, size);
        *len += size;
        from += size;
        if (strncmp(from, "\r\n", 2) != 0)
            return false;
        from += 2;
    }
}

static char *read_chunked(int fd, struct text *text, size_t head, bool *cut)
{
    bool whole = false;

    while (!(whole = strstr(text->bytes + head, "0\r\n\r\n") != NULL) && read_more(fd, text))
        ;
    size_t len = 0;
    char *raw = strdup(text->bytes + head);
    *cut = !decode_chunks(raw, text->bytes + head, &len) || !whole;
    free(raw);
    text->bytes[head + len] = '\0';
    return text->bytes;
}

static bool has_body(const char *head)
{
    int status = status_of(head);
    return status >= 200 && status != 204 && status != 304;
}

char *read_response(int fd, bool *cut)
{
    struct text text = {0};
    size_t head = read_head(fd, &text);

    *cut = head == 0;
    if (head == 0 || !has_body(text.bytes))
        return text.bytes;
    if (strcasestr(text.bytes, "\r\nTransfer-Encoding: chunked\r\n") != NULL)
        return read_chunked(fd, &text, head, cut);
    size_t length = length_of(text.bytes);
    while (length == SIZE_MAX || text.len < head + length)
        if (!read_more(fd, &text))
            break;
    *cut = length != SIZE_MAX && text.len < head + length;
    return text.bytes;
}

char *read_head_response(int fd)
{
    struct text text = {0};

    assert_int_not_equal(read_head(fd, &text), 0);
    return text.bytes;
}

char *read_eof(int fd)
{
    struct text text = {0};

    while (read_more(fd, &text))
        ;
    return text.bytes;
}

void wait_closed(int fd)
{
    free(read_eof(fd));
}

const char *body_of(const char *response)
{
    return strstr(response, "\r\n\r\n") + 4;
}

int status_of(const char *response)
{
    return atoi(response + 9);
}

void expect_response(int client, int status, const char *body)
{
    bool cut;
    char *response = read_response(client, &cut);

    assert_false(cut);
    assert_int_equal(status_of(response), status);
    assert_string_equal(body_of(response), body);
    free(response);
}

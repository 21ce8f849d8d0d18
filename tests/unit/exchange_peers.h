/* SPDX-License-Identifier: Apache-2.0 */
/* Client and app of an exchange's test, by blocking sockets. Nothing waits longer than 10 s; what
 * does not come fails the test. Texts that are returned are NUL-terminated heap, freed by the
 * caller. */
#ifndef SKY_TESTS_UNIT_EXCHANGE_PEERS_H
#define SKY_TESTS_UNIT_EXCHANGE_PEERS_H

#include <stdbool.h>
#include <stddef.h>

struct bench;

int client_connect(struct bench *bench);
/* client_connect_by: the same with a socket of the caller's. */
void client_connect_by(struct bench *bench, int fd);
int app_accept(struct bench *bench);
/* app_fill_backlog: connects to the app, without accepting, until its backlog takes no more.
 * Returns how many connections fds has then. */
size_t app_fill_backlog(struct bench *bench, int fds[8]);

void send_text(int fd, const char *text);
void send_bytes(int fd, const char *bytes, size_t len);
/* send_in_thread: a pthread's start, for what would block: arg is a struct sending. What is left of
 * it afterwards was not taken. */
struct sending {
    int fd;
    const char *bytes;
    size_t len;
};
void *send_in_thread(void *arg);
/* read_exactly: so many bytes. */
char *read_exactly(int fd, size_t len);
/* read_request: a head and the body that Content-Length tells, as text. */
char *read_request(int fd);
/* read_response: head, and body by length, by chunks (decoded) or up to the close. `cut` tells that
 * it ended before it should. */
char *read_response(int fd, bool *cut);
char *read_head_response(int fd);
/* read_eof: everything up to the close. */
char *read_eof(int fd);
/* wait_closed: the other side closes; whatever came before is ignored. */
void wait_closed(int fd);
const char *body_of(const char *response);
int status_of(const char *response);

/* expect_response: a whole one of this status and body. */
void expect_response(int client, int status, const char *body);

#endif

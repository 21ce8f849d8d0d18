/* SPDX-License-Identifier: Apache-2.0 */
/* TLS to the servers of an upstream: what is set once for all, and a connection's bytes.
 *
 * OpenSSL gets the socket itself, which has DONT_READ set; libh2o only tells when it is readable or
 * writable. A server's certificate must be signed by one of tls.ca, bear its name, and be valid
 * now, unless tls.verify is off. */
#ifndef SKY_PROXY_BACK_BACK_TLS_H
#define SKY_PROXY_BACK_BACK_TLS_H

#include <h2o.h>
#include <openssl/ssl.h>

#include "proxy/config/upstream_config.h"
#include "proxy/exchange/failure.h"

struct sky_upstream_conn;
struct sky_upstream_server;

/* sky_back_tls_context: what all workers use; reads the files. NULL after a log line. */
SSL_CTX *sky_back_tls_context(const struct sky_upstream_config *config);

/* sky_back_tls_check: whether that would work, if the upstream speaks TLS. */
bool sky_back_tls_check(const struct sky_upstream_config *config);

/* sky_back_tls_new: a client's state on a connected socket, with the session of the server's last
 * connection. NULL when memory is out. */
SSL *sky_back_tls_new(const struct sky_upstream_server *server, h2o_socket_t *sock);

enum sky_back_tls_step {
    SKY_BACK_TLS_DONE,
    SKY_BACK_TLS_READ, /* go on when the socket is readable */
    SKY_BACK_TLS_WRITE,
    SKY_BACK_TLS_FAILED
};

/* sky_back_tls_handshake: goes on with it. *failure and *detail (static) are set for FAILED. */
enum sky_back_tls_step sky_back_tls_handshake(SSL *ssl, enum sky_failure *failure,
                                              const char **detail);

/* sky_back_tls_adopt: the connection's bytes go by `ssl`, which is the connection's now. */
void sky_back_tls_adopt(struct sky_upstream_conn *conn, SSL *ssl);

/* sky_back_tls_close: says goodbye and frees what TLS holds. */
void sky_back_tls_close(struct sky_upstream_conn *conn);

/* sky_back_tls_receive: as recv(2). What OpenSSL holds back for want of room makes the connection
 * readable once more. EPROTO: the server has ended TLS by an alert, or its bytes are none. */
ssize_t sky_back_tls_receive(struct sky_upstream_conn *conn, char *bytes, size_t size);

/* sky_back_tls_send: as writev(2): a record's bytes at most. After EAGAIN it has to be called with
 * the same bytes. */
ssize_t sky_back_tls_send(struct sky_upstream_conn *conn, const h2o_iovec_t *bufs, size_t count);

/* sky_back_tls_send_all: as many records of both as the socket takes, about `max` bytes. */
ssize_t sky_back_tls_send_all(struct sky_upstream_conn *conn, const h2o_iovec_t bufs[2],
                              size_t max);

/* sky_back_skip: takes what was sent off both. */
void sky_back_skip(h2o_iovec_t bufs[2], size_t bytes);

/* sky_back_tls_resume: after reading was stopped: OpenSSL may hold bytes. */
void sky_back_tls_resume(struct sky_upstream_conn *conn);

/* sky_back_tls_shut: nothing more is sent; reading goes on. */
void sky_back_tls_shut(struct sky_upstream_conn *conn);

/* sky_back_tls_is_clean: nothing unread is left of the answer. */
bool sky_back_tls_is_clean(const struct sky_upstream_conn *conn);

#endif

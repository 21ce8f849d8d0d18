/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a client connection, plain and by TLS.
 *
 * Happy path of TLS: libh2o drives the handshake -> its SSL is given the socket itself -> from then
 * on SSL_read and SSL_write stand where recv and sendmsg do for plain connections. libh2o's own
 * reading and writing would not do: it reads without a bound, and takes a failed SSL_write for a
 * success.
 * Failures: a handshake that fails, or takes too long, is counted by its reason and the connection
 * closed. After a defective record both directions fail, as after a reset. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "proxy/front/answer_file.h"
#include "proxy/front/http1_conn.h"
#include "proxy/front/tls.h"
#include "reporter/log.h"

#ifndef IOV_MAX
#define IOV_MAX 1024
#endif

/* At most by one sendfile(2), for which other connections wait. */
#define SEND_FILE_BYTES 1048576

/* What one record holds at most (RFC 8446, 5.1). */
#define RECORD_BYTES 16384

/* ---- plain ---- */

static ssize_t plain_receive(struct sky_conn *conn, char *bytes, size_t size)
{
    return recv(h2o_socket_get_fd(conn->sock), bytes, size, 0);
}

static ssize_t plain_send(struct sky_conn *conn, h2o_iovec_t *bufs, size_t count, bool more)
{
    int fd = h2o_socket_get_fd(conn->sock), flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);

    if (count == 1)
        return send(fd, bufs->base, bufs->len, flags);
    struct msghdr message = {.msg_iov = (struct iovec *)bufs,
                             .msg_iovlen = count < IOV_MAX ? count : IOV_MAX};
    return sendmsg(fd, &message, flags);
}

static ssize_t plain_send_file(struct sky_conn *conn, const struct sky_answer_file *file)
{
    off_t at = (off_t)file->at;

    return sendfile(h2o_socket_get_fd(conn->sock), file->fd, &at,
                    file->left < SEND_FILE_BYTES ? (size_t)file->left : SEND_FILE_BYTES);
}

static void plain_shut(struct sky_conn *conn)
{
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_WR);
}

static int64_t plain_handed_over(struct sky_conn *conn)
{
    return (int64_t)conn->sock->bytes_written;
}

const struct sky_conn_io sky_conn_plain = {plain_receive, plain_send, plain_send_file, plain_shut,
                                           plain_handed_over};

/* ---- TLS ---- */

/* As a system call fails: -1 and errno; 0 at the end of what the client sends. */
static ssize_t tls_failed(struct sky_conn *conn, int result)
{
    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        if (errno == 0 || errno == EAGAIN || errno == EINTR)
            errno = ECONNRESET;
        return -1;
    default:
        errno = EPROTO;
        return -1;
    }
}

/* One record at least; for a body, as many as there are and fit. */
static ssize_t tls_receive(struct sky_conn *conn, char *bytes, size_t size)
{
    size_t total = 0;
    int got;

    do {
        int room = (int)(size - total < RECORD_BYTES ? size - total : RECORD_BYTES);
        ERR_clear_error();
        got = SSL_read(conn->ssl, bytes + total, room);
        if (got > 0)
            total += (size_t)got;
    } while (got > 0 && size - total >= RECORD_BYTES);
    if (total == 0)
        return tls_failed(conn, got);
    if (got > 0 && SSL_has_pending(conn->ssl))
        sky_conn_read_rest_soon(conn);
    return (ssize_t)total;
}

/* Small pieces go into one record: it has 22 bytes and a cipher's start of its own. */
static struct sky_text next_record(const h2o_iovec_t *bufs, size_t count,
                                   char gathered[RECORD_BYTES])
{
    size_t size = 0;

    if (count == 1 || bufs->len >= RECORD_BYTES)
        return sky_text(bufs->base, bufs->len < RECORD_BYTES ? bufs->len : RECORD_BYTES);
    for (size_t i = 0; i < count && size < RECORD_BYTES; i++) {
        size_t part = bufs[i].len < RECORD_BYTES - size ? bufs[i].len : RECORD_BYTES - size;
        memcpy(gathered + size, bufs[i].base, part);
        size += part;
    }
    return sky_text(gathered, size);
}

static bool holds_more(const h2o_iovec_t *bufs, size_t count, size_t than)
{
    for (size_t i = 0; i < count; i++) {
        if (bufs[i].len > than)
            return true;
        than -= bufs[i].len;
    }
    return false;
}

/* A write that the socket did not take is tried again with the same first bytes, as OpenSSL wants
 * it. */
static ssize_t tls_send(struct sky_conn *conn, h2o_iovec_t *bufs, size_t count, bool more)
{
    char gathered[RECORD_BYTES];
    struct sky_text record = next_record(bufs, count, gathered);

    ERR_clear_error();
    conn->record_follows = more || holds_more(bufs, count, record.len);
    int sent = SSL_write(conn->ssl, record.base, (int)record.len);
    conn->record_follows = false;
    if (sent > 0)
        return sent;
    ssize_t failed = tls_failed(conn, sent);
    if (failed == 0) {
        errno = EPIPE;
        failed = -1;
    }
    return failed;
}

/* close_notify, once: closing the socket later is to send no second one. */
static void tls_shut(struct sky_conn *conn)
{
    ERR_clear_error();
    SSL_shutdown(conn->ssl);
    SSL_set_quiet_shutdown(conn->ssl, 1);
    plain_shut(conn);
}

static int64_t tls_handed_over(struct sky_conn *conn)
{
    return (int64_t)BIO_number_written(SSL_get_wbio(conn->ssl));
}

static const struct sky_conn_io tls_io = {tls_receive, tls_send, NULL, tls_shut, tls_handed_over};

/* ---- the socket, as OpenSSL sees it ---- */

/* Records that follow each other at once leave in packets as large as they may be: OpenSSL's own
 * BIO of a socket pushes each of them. */
static int write_record(BIO *bio, const char *bytes, int len)
{
    const struct sky_conn *conn = BIO_get_data(bio);
    int flags = MSG_NOSIGNAL | (conn->record_follows ? MSG_MORE : 0);
    ssize_t sent = send(h2o_socket_get_fd(conn->sock), bytes, (size_t)len, flags);

    BIO_clear_retry_flags(bio);
    if (sent == -1 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int read_records(BIO *bio, char *bytes, int size)
{
    const struct sky_conn *conn = BIO_get_data(bio);
    ssize_t got = recv(h2o_socket_get_fd(conn->sock), bytes, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static BIO_METHOD *socket_method; /* never freed, as OpenSSL's own */

static void make_method(void)
{
    if (socket_method != NULL)
        return;
    socket_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket of a client");
    if (socket_method == NULL)
        h2o_fatal("no memory");
    BIO_meth_set_write(socket_method, write_record);
    BIO_meth_set_read(socket_method, read_records);
    BIO_meth_set_ctrl(socket_method, control);
}

static BIO *make_bio(struct sky_conn *conn)
{
    BIO *bio = BIO_new(socket_method);

    if (bio == NULL)
        return NULL;
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- handshake ---- */

/* The handshake begins: its output goes to the socket directly, since libh2o drops the alert that
 * tells a client why one failed. What a fresh socket takes is more than a handshake has to say.
 * libh2o shows the SSL of a socket nowhere; its BIO knows the socket. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    h2o_socket_t *sock = BIO_get_data(SSL_get_rbio(ssl));
    struct sky_conn *conn = sock->data;

    (void)arg;
    if (conn->ssl != NULL) /* the second one, after a retry (RFC 8446, 4.1.4) */
        return SSL_CLIENT_HELLO_SUCCESS;
    BIO *out = make_bio(conn);
    if (out == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    SSL_set0_wbio(ssl, out);
    conn->ssl = ssl;
    return SSL_CLIENT_HELLO_SUCCESS;
}

void sky_front_prepare_tls(SSL_CTX *ctx)
{
    make_method();
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
}

static void give_up(struct sky_conn *conn, enum sky_counter counter, const char *reason)
{
    static struct sky_log_limit limit;
    char host[NI_MAXHOST];

    sky_conn_count(conn, counter);
    sky_log_limited(&limit, SKY_LOG_INFO, "TLS handshake of %s failed: %s",
                    sky_conn_peer(conn, host), reason);
    sky_conn_close(conn);
}

static void on_handshake_timeout(h2o_timeout_entry_t *entry)
{
    give_up(H2O_STRUCT_FROM_MEMBER(struct sky_conn, timer, entry), SKY_COUNT_tls_failed_timeout,
            "timeouts.handshake");
}

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct sky_conn *conn = sock->data;

    if (err == h2o_socket_error_closed || err == h2o_socket_error_io) {
        give_up(conn, SKY_COUNT_tls_failed_closed, err);
        return;
    }
    if (err != NULL) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        give_up(conn, sky_tls_failure(), reason != NULL ? reason : err);
        return;
    }
    sky_conn_count(conn, SKY_COUNT_tls_handshakes);
    SSL_CTX_free(conn->shaking); /* the SSL holds it */
    conn->shaking = NULL;
    BIO *both = SSL_get_wbio(conn->ssl);
    BIO_up_ref(both);
    SSL_set0_rbio(conn->ssl, both);
    SSL_set_read_ahead(conn->ssl, 1); /* one recv(2) a record, not two */
    conn->io = &tls_io;
    sky_conn_begin(conn);
}

void sky_conn_shake_hands(struct sky_conn *conn, SSL_CTX *ctx)
{
    conn->state = SKY_CONN_HANDSHAKE;
    SSL_CTX_up_ref(ctx);
    conn->shaking = ctx;
    sky_conn_set_timer(conn, &conn->front->handshake_timeout, on_handshake_timeout);
    h2o_socket_ssl_handshake(conn->sock, ctx, NULL, on_handshake);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/back_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "proxy/back/upstream.h"
#include "proxy/config/config_upstream.h"
#include "reporter/log.h"

/* What one record holds at most (RFC 8446, 5.1). */
#define RECORD_BYTES 16384

/* Forward secrecy and authenticated encryption only; those of TLS 1.3 are so anyway. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"

/* --- context --- */

/* A terminal is never asked. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

/* The first of what was said: the system's reason, when there is one. */
static const char *reason(void)
{
    unsigned long first = ERR_peek_error();
    const char *text =
        ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : ERR_reason_error_string(first);

    return text != NULL ? text : "unreadable";
}

/* NULL, or which of the files is at fault. */
static const char *load(SSL_CTX *ctx, const struct sky_upstream_config *config)
{
    if (config->tls.ca[0] != '\0' ? SSL_CTX_load_verify_file(ctx, config->tls.ca) != 1
                                  : SSL_CTX_set_default_verify_paths(ctx) != 1)
        return "ca";
    if (config->tls.certificate[0] == '\0')
        return config->tls.key[0] != '\0' ? "certificate" : NULL;
    if (SSL_CTX_use_certificate_chain_file(ctx, config->tls.certificate) != 1)
        return "certificate";
    if (SSL_CTX_use_PrivateKey_file(ctx, config->tls.key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return "key";
    return NULL;
}

static const char *name_of(const struct sky_upstream_config *config, const char *file)
{
    if (file[0] == 'k')
        return config->tls.key;
    return strcmp(file, "ca") == 0 ? config->tls.ca : config->tls.certificate;
}

/* The newest session of the server; those of TLS 1.3 come with the first bytes of an answer. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct sky_upstream_conn *conn = SSL_get_app_data(ssl);

    if (conn == NULL) /* of TLS 1.2, within the handshake: taken when the connection is adopted */
        return 0;
    SSL_SESSION_free(conn->server->session);
    conn->server->session = session;
    return 1;
}

SSL_CTX *sky_back_tls_context(const struct sky_upstream_config *config)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    const char *file = "tls";

    ERR_clear_error();
    if (ctx != NULL && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1) {
        SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_session_cache_mode(ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
        SSL_CTX_set_default_passwd_cb(ctx, no_password);
        SSL_CTX_set_verify(ctx, config->tls.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
        file = load(ctx, config);
    }
    if (file == NULL)
        return ctx;
    sky_log(SKY_LOG_ERROR, "upstreams.%s.tls: %s %s: %s; it must name a PEM file%s", config->name,
            file, name_of(config, file), reason(),
            file[0] == 'k' ? " without a password, of the certificate's key" : "");
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

bool sky_back_tls_check(const struct sky_upstream_config *config)
{
    if (!sky_config_upstream_tls(config))
        return true;
    SSL_CTX *ctx = sky_back_tls_context(config);
    SSL_CTX_free(ctx);
    return ctx != NULL;
}

/* --- handshake --- */

/* RFC 6066, 3: no address; RFC 9110, 4.3.4: nor is one looked for among the names. */
static bool set_name(SSL *ssl, const struct sky_upstream_server *server)
{
    const struct sky_upstream_config *config = server->upstream->config;
    const char *name = config->tls.server_name;
    unsigned char address[16];

    if (name[0] == '\0')
        name = server->address->host != NULL ? server->address->host : "localhost";
    bool ip = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    if (!ip && SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name) != 1)
        return false;
    return ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
              : SSL_set1_host(ssl, name) == 1;
}

SSL *sky_back_tls_new(const struct sky_upstream_server *server, h2o_socket_t *sock)
{
    SSL *ssl = SSL_new(server->upstream->roster->tls);

    if (ssl == NULL || SSL_set_fd(ssl, h2o_socket_get_fd(sock)) != 1 || !set_name(ssl, server)) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    if (server->session != NULL)
        SSL_set_session(ssl, server->session);
    return ssl;
}

static enum sky_failure failure_of(const SSL *ssl)
{
    switch (SSL_get_verify_result(ssl)) {
    case X509_V_OK:
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return SKY_FAILURE_TLS_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return SKY_FAILURE_TLS_NAME;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return SKY_FAILURE_TLS_UNKNOWN_CA;
    default:
        return SKY_FAILURE_TLS_CERTIFICATE;
    }
    return ERR_GET_REASON(ERR_peek_last_error()) >= SSL_AD_REASON_OFFSET
               ? SKY_FAILURE_TLS_REFUSED
               : SKY_FAILURE_TLS_HANDSHAKE;
}

enum sky_back_tls_step sky_back_tls_handshake(SSL *ssl, enum sky_failure *failure,
                                              const char **detail)
{
    ERR_clear_error();
    int result = SSL_do_handshake(ssl);
    if (result == 1)
        return SKY_BACK_TLS_DONE;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return SKY_BACK_TLS_READ;
    case SSL_ERROR_WANT_WRITE:
        return SKY_BACK_TLS_WRITE;
    default:
        break;
    }
    *failure = failure_of(ssl);
    long verified = SSL_get_verify_result(ssl);
    *detail = verified != X509_V_OK ? X509_verify_cert_error_string(verified) : reason();
    ERR_clear_error();
    return SKY_BACK_TLS_FAILED;
}

/* --- bytes --- */

static void on_reader(h2o_timeout_entry_t *entry)
{
    struct sky_upstream_conn *conn =
        H2O_STRUCT_FROM_MEMBER(struct sky_upstream_conn, reader, entry);

    if (conn->on_readable != NULL && h2o_socket_is_reading(conn->sock))
        conn->on_readable(conn);
}

void sky_back_tls_adopt(struct sky_upstream_conn *conn, SSL *ssl)
{
    conn->ssl = ssl;
    conn->reader = (h2o_timeout_entry_t){.cb = on_reader};
    SSL_set_app_data(ssl, conn);
    SSL_SESSION *session = SSL_get1_session(ssl);
    if (session != NULL && SSL_SESSION_is_resumable(session)) {
        SSL_SESSION_free(conn->server->session);
        conn->server->session = session;
    } else {
        SSL_SESSION_free(session);
    }
}

void sky_back_tls_close(struct sky_upstream_conn *conn)
{
    h2o_timeout_unlink(&conn->reader);
    ERR_clear_error();
    SSL_shutdown(conn->ssl); /* what the socket does not take is lost */
    ERR_clear_error();
    SSL_free(conn->ssl);
    conn->ssl = NULL;
}

/* What OpenSSL has taken from the socket, and we not from it, gives no event of the socket. */
static void read_again_soon(struct sky_upstream_conn *conn)
{
    h2o_context_t *ctx = conn->server->upstream->ctx;

    if (!h2o_timeout_is_linked(&conn->reader))
        h2o_timeout_link(ctx->loop, &ctx->zero_timeout, &conn->reader);
}

/* As a system call fails: -1 and errno; 0 at the end of what the server sends. An end without
 * close_notify is a failure: the answer may have been cut (RFC 9112, 9.8). */
static ssize_t failed(const struct sky_upstream_conn *conn, int result)
{
    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SSL:
        errno = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING
                    ? ECONNRESET
                    : EPROTO;
        return -1;
    default:
        errno = ECONNRESET;
        return -1;
    }
}

ssize_t sky_back_tls_receive(struct sky_upstream_conn *conn, char *bytes, size_t size)
{
    size_t total = 0;
    int got = 1;

    while (total < size && got > 0) {
        size_t room = size - total;
        ERR_clear_error();
        got = SSL_read(conn->ssl, bytes + total, (int)(room < RECORD_BYTES ? room : RECORD_BYTES));
        if (got > 0)
            total += (size_t)got;
    }
    if (total == 0)
        return failed(conn, got);
    if (got > 0 ? SSL_has_pending(conn->ssl) : SSL_get_error(conn->ssl, got) != SSL_ERROR_WANT_READ)
        read_again_soon(conn);
    return (ssize_t)total;
}

ssize_t sky_back_tls_send(struct sky_upstream_conn *conn, const h2o_iovec_t *bufs, size_t count)
{
    char record[RECORD_BYTES];
    size_t len = 0;

    for (size_t i = 0; i < count && len < sizeof(record); ++i) {
        size_t part = bufs[i].len < sizeof(record) - len ? bufs[i].len : sizeof(record) - len;
        if (part != 0)
            memcpy(record + len, bufs[i].base, part);
        len += part;
    }
    ERR_clear_error();
    int sent = SSL_write(conn->ssl, record, (int)len);
    return sent > 0 ? sent : failed(conn, sent) == 0 ? (errno = EPIPE, -1) : -1;
}

void sky_back_skip(h2o_iovec_t bufs[2], size_t bytes)
{
    for (size_t i = 0; i < 2; ++i) {
        size_t step = bytes < bufs[i].len ? bytes : bufs[i].len;
        bufs[i].base += step;
        bufs[i].len -= step;
        bytes -= step;
    }
}

ssize_t sky_back_tls_send_all(struct sky_upstream_conn *conn, const h2o_iovec_t bufs[2], size_t max)
{
    h2o_iovec_t rest[2] = {bufs[0], bufs[1]};
    size_t total = 0;
    ssize_t sent = -1;

    while (total < max && rest[0].len + rest[1].len != 0 &&
           (sent = sky_back_tls_send(conn, rest, 2)) > 0) {
        total += (size_t)sent;
        sky_back_skip(rest, (size_t)sent);
    }
    return total != 0 ? (ssize_t)total : sent;
}

void sky_back_tls_resume(struct sky_upstream_conn *conn)
{
    if (SSL_has_pending(conn->ssl))
        read_again_soon(conn);
}

void sky_back_tls_shut(struct sky_upstream_conn *conn)
{
    ERR_clear_error();
    SSL_shutdown(conn->ssl);
    ERR_clear_error();
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_WR);
}

bool sky_back_tls_is_clean(const struct sky_upstream_conn *conn)
{
    return !SSL_has_pending(conn->ssl) && SSL_get_shutdown(conn->ssl) == 0;
}

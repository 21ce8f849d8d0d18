/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/front/ocsp.h"
#include "proxy/front/tickets.h"

/* Forward secrecy and authenticated encryption only; those of TLS 1.3 are so anyway. */
#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20"

/* One context a certificate, since a handshake has one of each. The first context owns the rest: a
 * handshake may be under way in it when a reload has put another in its place. */
struct sky_tls {
    SSL_CTX **contexts;
    size_t count;
};

struct report {
    char *text;
    size_t size;
};

static bool fail(const struct report *report, const char *what, const char *file,
                 const char *problem, const char *advice)
{
    snprintf(report->text, report->size, "%s %s: %s; %s", what, file, problem, advice);
    return false;
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    return reason != NULL ? reason : "unreadable";
}

/* OpenSSL's own message does not say which of two files is missing. */
static bool readable(const char *what, const char *file, const struct report *report)
{
    char byte;
    FILE *stream = fopen(file, "re");
    bool fine = stream != NULL && (fread(&byte, 1, 1, stream) == 1 || ferror(stream) == 0);
    int saved = errno;
    if (stream != NULL)
        fclose(stream);
    return fine ||
           fail(report, what, file, strerror(saved), "name a PEM file that this user may read");
}

/* A terminal is never asked. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing;
    if (arg != NULL)
        *(bool *)arg = true;
    return -1;
}

static bool load_key(SSL_CTX *ctx, const char *file, const struct report *report)
{
    bool locked = false;
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &locked);
    ERR_clear_error();
    int loaded = SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    if (loaded == 1)
        return true;
    if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH)
        return fail(report, "key", file, "does not belong to the certificate",
                    "name the key that the certificate was made for");
    return fail(report, "key", file, locked ? "has a password" : openssl_reason(),
                "it must hold a private key in PEM without a password");
}

static bool load_certificate(SSL_CTX *ctx, const struct sky_certificate_config *config,
                             const struct report *report)
{
    if (!readable("certificate", config->certificate, report) ||
        !readable("key", config->key, report))
        return false;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, config->certificate) != 1)
        return fail(report, "certificate", config->certificate, openssl_reason(),
                    "it must hold the server's certificate in PEM, then those of its issuers");
    return load_key(ctx, config->key, report);
}

static bool load_client_ca(SSL_CTX *ctx, const struct sky_tls_config *config,
                           const struct report *report)
{
    if (config->client_ca == NULL)
        return true;
    if (!readable("client_ca", config->client_ca, report))
        return false;
    ERR_clear_error();
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(config->client_ca);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, config->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail(report, "client_ca", config->client_ca, openssl_reason(),
                    "it must hold the certificates in PEM that sign those of clients");
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    int mode = SSL_VERIFY_PEER;
    if (config->client_auth == SKY_CLIENT_AUTH_REQUIRE)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    return true;
}

/* RFC 7301, 3.2: what a client offers has to hold one of ours, or the handshake ends.
 * arg: not NULL when HTTP/2 is none of ours. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    size_t skipped = arg == NULL ? 0 : sizeof("\x02h2") - 1;
    unsigned char *found;

    (void)ssl;
    if (SSL_select_next_proto(&found, chosen_len, ours + skipped,
                              (unsigned)(sizeof(ours) - 1 - skipped), offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct sky_tls *tls = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (size_t i = 0; name != NULL && i < tls->count; ++i) {
        if (X509_check_host(SSL_CTX_get0_certificate(tls->contexts[i]), name, 0, 0, NULL) != 1)
            continue;
        SSL_set_SSL_CTX(ssl, tls->contexts[i]);
        break;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* All listeners open the tickets of all, but a session must not get past the client certificates
 * that another listener, or the next configuration, asks for. */
static bool name_sessions(const struct sky_tls_config *config,
                          unsigned char name[SHA256_DIGEST_LENGTH])
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    FILE *file = config->client_ca != NULL ? fopen(config->client_ca, "re") : NULL;
    unsigned char rule = config->client_ca == NULL ? 0 : (unsigned char)(1 + config->client_auth);
    char bytes[4096];
    size_t len;

    bool fine = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, &rule, 1) == 1;
    while (fine && file != NULL && (len = fread(bytes, 1, sizeof(bytes), file)) != 0)
        fine = EVP_DigestUpdate(digest, bytes, len) == 1;
    fine = fine && EVP_DigestFinal_ex(digest, name, NULL) == 1;
    if (file != NULL)
        fclose(file);
    EVP_MD_CTX_free(digest);
    return fine;
}

static bool set_up(SSL_CTX *ctx, const struct sky_tls_config *config)
{
    unsigned char session_context[SHA256_DIGEST_LENGTH];

    /* HTTP says itself where a message ends; many clients leave without a close_notify. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* tickets, which clients keep, take the place of it */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, config->no_http2 ? ctx : NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1 &&
           name_sessions(config, session_context) && sky_tickets_use(ctx) &&
           SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context)) == 1;
}

/* With the first context. */
static void free_rest(void *parent, void *arg, CRYPTO_EX_DATA *data, int index, long argl,
                      void *argp)
{
    struct sky_tls *tls = arg;

    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (tls == NULL)
        return;
    for (size_t i = 1; i < tls->count; ++i)
        SSL_CTX_free(tls->contexts[i]);
    free(tls->contexts);
    free(tls);
}

/* Main thread: where a context has its struct sky_tls; -1 when memory is out. */
static int place_of_rest(void)
{
    static int index = -1;

    if (index == -1)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_rest);
    return index;
}

static bool add_context(struct sky_tls *tls, const struct sky_tls_config *config, size_t i,
                        const struct report *report)
{
    const struct sky_certificate_config *certificate = &config->certificates[i];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || !set_up(ctx, config) ||
        (tls->count == 0 && SSL_CTX_set_ex_data(ctx, place_of_rest(), tls) != 1)) {
        SSL_CTX_free(ctx);
        return fail(report, "certificate", certificate->certificate, openssl_reason(),
                    "is OpenSSL's own configuration sound?");
    }
    tls->contexts[tls->count++] = ctx;
    if (!load_certificate(ctx, certificate, report) || !load_client_ca(ctx, config, report))
        return false;
    if (certificate->ocsp != NULL)
        sky_ocsp_staple(ctx, certificate->ocsp);
    return true;
}

struct sky_tls *sky_tls_new(const struct sky_tls_config *config, char *error, size_t error_size)
{
    struct report report = {error, error_size};
    struct sky_tls *tls = calloc(1, sizeof(*tls));
    SSL_CTX **contexts = calloc(config->certificate_count, sizeof(*contexts));
    if (tls == NULL || contexts == NULL) {
        snprintf(error, error_size, "memory is out");
        free(contexts);
        free(tls);
        return NULL;
    }
    tls->contexts = contexts;
    for (size_t i = 0; i < config->certificate_count; ++i) {
        if (add_context(tls, config, i, &report))
            continue;
        ERR_clear_error();
        sky_tls_destroy(tls);
        return NULL;
    }
    SSL_CTX_set_tlsext_servername_callback(tls->contexts[0], choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(tls->contexts[0], tls);
    return tls;
}

SSL_CTX *sky_tls_context(const struct sky_tls *tls)
{
    return tls->contexts[0];
}

void sky_tls_destroy(struct sky_tls *tls)
{
    if (tls == NULL)
        return;
    if (tls->count != 0)
        SSL_CTX_free(tls->contexts[0]);
    else
        free_rest(NULL, tls, NULL, 0, 0, NULL);
}

enum sky_counter sky_tls_failure(void)
{
    int reason = ERR_GET_REASON(ERR_peek_error());

    if (reason >= SSL_AD_REASON_OFFSET)
        return SKY_COUNT_tls_failed_refused;
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return SKY_COUNT_tls_failed_plain;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return SKY_COUNT_tls_failed_client_certificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
        return SKY_COUNT_tls_failed_no_common;
    default:
        return SKY_COUNT_tls_failed_malformed;
    }
}

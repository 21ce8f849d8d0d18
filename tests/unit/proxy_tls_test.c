/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made here: what sound ones give, and the line for each defect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/front/tls.h"

static char directory[] = "/tmp/skystitch-tls-XXXXXX";

static const char *in_directory(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", directory, name);
    return path;
}

static FILE *create(const char *name)
{
    char path[64];
    FILE *file = fopen(in_directory(path, name), "w");
    assert_non_null(file);
    return file;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = create(name);
    fputs(text, file);
    fclose(file);
}

static X509 *make_certificate(EVP_PKEY *key, const char *host)
{
    char names[64];
    X509 *certificate = X509_new();
    snprintf(names, sizeof(names), "DNS:%s", host);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)host, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_set_pubkey(certificate, key);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

static void write_pair(const char *host, const char *certificate_name, const char *key_name,
                       const char *password)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key, host);
    FILE *file = create(certificate_name);
    PEM_write_X509(file, certificate);
    fclose(file);
    file = create(key_name);
    PEM_write_PrivateKey(file, key, password != NULL ? EVP_aes_128_cbc() : NULL,
                         (const unsigned char *)password,
                         password != NULL ? (int)strlen(password) : 0, NULL, NULL);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static int make_files(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    write_pair("shop.test", "shop.pem", "shop.key", NULL);
    write_pair("*.wild.test", "wild.pem", "wild.key", NULL);
    write_pair("locked.test", "locked.pem", "locked.key", "secret");
    write_text("empty", "");
    write_text("text", "no PEM at all\n");
    return 0;
}

static int remove_files(void **state)
{
    static const char *const names[] = {"shop.pem",   "shop.key",   "wild.pem", "wild.key",
                                        "locked.pem", "locked.key", "empty",    "text"};
    char path[64];
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i)
        unlink(in_directory(path, names[i]));
    return rmdir(directory);
}

struct pair {
    char certificate[64], key[64];
};

static struct sky_tls *load(const char *certificate, const char *key, const char *client_ca,
                            char *error, size_t size)
{
    struct pair files;
    char ca[64];
    struct sky_certificate_config pair = {
        (char *)(uintptr_t)in_directory(files.certificate, certificate),
        (char *)(uintptr_t)in_directory(files.key, key), NULL};
    struct sky_tls_config config = {.certificates = &pair, .certificate_count = 1};
    if (client_ca != NULL)
        config.client_ca = (char *)(uintptr_t)in_directory(ca, client_ca);
    return sky_tls_new(&config, error, size);
}

static void test_defects(void **state)
{
    static const struct {
        const char *certificate, *key, *client_ca, *line; /* %s is the directory */
    } defects[] = {
        {"none", "shop.key", NULL,
         "certificate %s/none: No such file or directory; name a PEM file that this user may read"},
        {"shop.pem", "none", NULL,
         "key %s/none: No such file or directory; name a PEM file that this user may read"},
        {".", "shop.key", NULL,
         "certificate %s/.: Is a directory; name a PEM file that this user may read"},
        {"empty", "shop.key", NULL,
         "certificate %s/empty: no start line; it must hold the server's certificate in PEM, then "
         "those of its issuers"},
        {"shop.key", "shop.key", NULL,
         "certificate %s/shop.key: no start line; it must hold the server's certificate in PEM, "
         "then those of its issuers"},
        {"shop.pem", "text", NULL,
         "key %s/text: unsupported; it must hold a private key in PEM without a password"},
        {"locked.pem", "locked.key", NULL,
         "key %s/locked.key: has a password; it must hold a private key in PEM without a "
         "password"},
        {"shop.pem", "wild.key", NULL,
         "key %s/wild.key: does not belong to the certificate; name the key that the certificate "
         "was made for"},
        {"shop.pem", "shop.key", "none",
         "client_ca %s/none: No such file or directory; name a PEM file that this user may read"},
        {"shop.pem", "shop.key", "text",
         "client_ca %s/text: no start line; it must hold the certificates in PEM that sign those "
         "of clients"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(defects) / sizeof(defects[0]); ++i) {
        char error[512] = "", line[512];
        const char *place = strstr(defects[i].line, "%s");
        snprintf(line, sizeof(line), "%.*s%s%s", (int)(place - defects[i].line), defects[i].line,
                 directory, place + 2);
        assert_null(load(defects[i].certificate, defects[i].key, defects[i].client_ca, error,
                         sizeof(error)));
        assert_string_equal(error, line);
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void test_context(void **state)
{
    char error[512] = "";
    (void)state;
    struct sky_tls *tls = load("shop.pem", "shop.key", NULL, error, sizeof(error));
    assert_non_null(tls);
    SSL_CTX *ctx = sky_tls_context(tls);
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_get_verify_mode(ctx), SSL_VERIFY_NONE);
    assert_true(SSL_CTX_get_options(ctx) & SSL_OP_NO_RENEGOTIATION);
    assert_false(SSL_CTX_get_options(ctx) & SSL_OP_NO_TICKET);
    sky_tls_destroy(tls);
    sky_tls_destroy(NULL);
}

static void test_client_auth(void **state)
{
    char error[512] = "";
    (void)state;
    struct sky_tls *tls = load("shop.pem", "shop.key", "wild.pem", error, sizeof(error));
    assert_non_null(tls);
    assert_int_equal(SSL_CTX_get_verify_mode(sky_tls_context(tls)),
                     SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    sky_tls_destroy(tls);
}

/* ---- handshakes, in memory ---- */

struct outcome {
    char host[64]; /* of the server's certificate */
    char protocol[16];
    bool done;
    enum sky_counter failure;
};

static void note(struct outcome *outcome, SSL *client)
{
    const unsigned char *protocol;
    unsigned len;
    X509 *certificate = SSL_get1_peer_certificate(client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, outcome->host,
                              sizeof(outcome->host));
    X509_free(certificate);
    SSL_get0_alpn_selected(client, &protocol, &len);
    snprintf(outcome->protocol, sizeof(outcome->protocol), "%.*s", (int)len,
             (const char *)protocol);
}

static struct outcome shake_hands(SSL_CTX *ctx, const char *name, const char *protocols,
                                  int max_version)
{
    struct outcome outcome = {.failure = SKY_COUNTER_COUNT};
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(client_ctx, max_version);
    SSL_CTX_set_min_proto_version(client_ctx, 0);
    SSL_CTX_set_security_level(client_ctx, 0);
    SSL *client = SSL_new(client_ctx), *server = SSL_new(ctx);
    BIO *to_client, *to_server;
    assert_int_equal(BIO_new_bio_pair(&to_client, 0, &to_server, 0), 1);
    SSL_set_bio(client, to_client, to_client);
    SSL_set_bio(server, to_server, to_server);
    if (name != NULL)
        SSL_set_tlsext_host_name(client, name);
    if (protocols != NULL)
        SSL_set_alpn_protos(client, (const unsigned char *)protocols, (unsigned)strlen(protocols));
    for (int i = 0; i < 10 && !outcome.done && outcome.failure == SKY_COUNTER_COUNT; ++i) {
        int connected = SSL_connect(client);
        ERR_clear_error();
        int accepted = SSL_accept(server);
        outcome.done = connected == 1 && accepted == 1;
        if (accepted != 1 && SSL_get_error(server, accepted) == SSL_ERROR_SSL)
            outcome.failure = sky_tls_failure();
    }
    if (outcome.done)
        note(&outcome, client);
    ERR_clear_error();
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(client_ctx);
    return outcome;
}

static struct sky_tls *load_two(void)
{
    struct pair files[2];
    char error[512];
    struct sky_certificate_config pairs[2] = {
        {(char *)(uintptr_t)in_directory(files[0].certificate, "shop.pem"),
         (char *)(uintptr_t)in_directory(files[0].key, "shop.key"), NULL},
        {(char *)(uintptr_t)in_directory(files[1].certificate, "wild.pem"),
         (char *)(uintptr_t)in_directory(files[1].key, "wild.key"), NULL}};
    struct sky_tls *tls =
        sky_tls_new(&(struct sky_tls_config){.certificates = pairs, .certificate_count = 2}, error,
                    sizeof(error));
    assert_non_null(tls);
    return tls;
}

static void test_certificate_by_name(void **state)
{
    static const struct {
        const char *name, *host;
    } rows[] = {{NULL, "shop.test"},
                {"shop.test", "shop.test"},
                {"a.wild.test", "*.wild.test"},
                {"A.WILD.TEST", "*.wild.test"},
                {"wild.test", "shop.test"},
                {"a.b.wild.test", "shop.test"},
                {"other.test", "shop.test"}};
    struct sky_tls *tls = load_two();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i)
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; ++version) {
            struct outcome outcome = shake_hands(sky_tls_context(tls), rows[i].name, NULL, version);
            assert_true(outcome.done);
            assert_string_equal(outcome.host, rows[i].host);
        }
    sky_tls_destroy(tls);
}

static void test_protocols(void **state)
{
    struct sky_tls *tls = load_two();
    SSL_CTX *ctx = sky_tls_context(tls);
    (void)state;
    assert_string_equal(shake_hands(ctx, NULL, "\x08http/1.1\x02h2", TLS1_3_VERSION).protocol,
                        "h2");
    assert_string_equal(shake_hands(ctx, NULL, "\x08http/1.1", TLS1_3_VERSION).protocol,
                        "http/1.1");
    assert_string_equal(shake_hands(ctx, NULL, NULL, TLS1_3_VERSION).protocol, "");
    assert_int_equal(shake_hands(ctx, "a.wild.test", "\x02h3", TLS1_3_VERSION).failure,
                     SKY_COUNT_tls_failed_no_common);
    assert_int_equal(shake_hands(ctx, NULL, NULL, TLS1_1_VERSION).failure,
                     SKY_COUNT_tls_failed_no_common);
    sky_tls_destroy(tls);
}

static void test_no_http2(void **state)
{
    struct pair file;
    char error[512];
    struct sky_certificate_config pair = {
        (char *)(uintptr_t)in_directory(file.certificate, "shop.pem"),
        (char *)(uintptr_t)in_directory(file.key, "shop.key"), NULL};
    struct sky_tls *tls = sky_tls_new(
        &(struct sky_tls_config){.certificates = &pair, .certificate_count = 1, .no_http2 = true},
        error, sizeof(error));
    SSL_CTX *ctx = sky_tls_context(tls);
    (void)state;
    assert_string_equal(shake_hands(ctx, NULL, "\x02h2\x08http/1.1", TLS1_3_VERSION).protocol,
                        "http/1.1");
    assert_int_equal(shake_hands(ctx, NULL, "\x02h2", TLS1_3_VERSION).failure,
                     SKY_COUNT_tls_failed_no_common);
    sky_tls_destroy(tls);
}

static void test_client_without_certificate(void **state)
{
    char error[512];
    struct sky_tls *tls = load("shop.pem", "shop.key", "wild.pem", error, sizeof(error));
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; ++version)
        assert_int_equal(shake_hands(sky_tls_context(tls), NULL, NULL, version).failure,
                         SKY_COUNT_tls_failed_client_certificate);
    sky_tls_destroy(tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defects),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_client_auth),
        cmocka_unit_test(test_certificate_by_name),
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_no_http2),
        cmocka_unit_test(test_client_without_certificate),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the files as libcurl will, into a context that is thrown away. */
#include "reporter/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

/* OpenSSL would ask for it on the terminal. */
static int no_password(char *password, int size, int is_writing, void *argument)
{
    (void)password;
    (void)size;
    (void)is_writing;
    (void)argument;
    return -1;
}

static const char *last_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return reason != NULL ? reason : "cannot be used";
}

/* OpenSSL calls a missing file "system lib". */
static bool is_readable(const char *option, const char *path, char *error, size_t error_size)
{
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        snprintf(error, error_size, "%s: %s: %s", option, path, strerror(errno));
        return false;
    }
    fclose(file);
    return true;
}

static bool check_file(const char *option, const char *path, char *error, size_t error_size,
                       int (*load)(SSL_CTX *context, const char *path), SSL_CTX *context)
{
    if (path == NULL || path[0] == '\0')
        return true;
    if (!is_readable(option, path, error, error_size))
        return false;
    if (load(context, path) == 1)
        return true;
    snprintf(error, error_size, "%s: %s: %s", option, path, last_reason());
    return false;
}

static int load_ca(SSL_CTX *context, const char *path)
{
    return SSL_CTX_load_verify_file(context, path);
}

/* A key that does not fit the certificate fails here too. */
static int load_key(SSL_CTX *context, const char *path)
{
    return SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM);
}

static bool is_given(const char *path)
{
    return path != NULL && path[0] != '\0';
}

bool sky_backend_tls_check(const struct sky_backend_tls *tls, char *error, size_t error_size)
{
    if (is_given(tls->certificate) != is_given(tls->key)) {
        snprintf(error, error_size, "%s: is not given, but %s is",
                 is_given(tls->key) ? "certificate" : "key",
                 is_given(tls->key) ? "key" : "certificate");
        return false;
    }
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        snprintf(error, error_size, "enabled: %s", last_reason());
        return false;
    }
    SSL_CTX_set_default_passwd_cb(context, no_password);
    ERR_clear_error();
    bool is_sound = check_file("ca", tls->ca, error, error_size, load_ca, context) &&
                    check_file("certificate", tls->certificate, error, error_size,
                               SSL_CTX_use_certificate_chain_file, context) &&
                    check_file("key", tls->key, error, error_size, load_key, context);
    ERR_clear_error();
    SSL_CTX_free(context);
    return is_sound;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reporter/log.h"

#define CLOCK_SKEW_S 300

/* The context's: freed with it. */
struct staple {
    unsigned char *bytes;
    int len;
    time_t until; /* 0: the answer does not say */
};

static void free_staple(void *parent, void *arg, CRYPTO_EX_DATA *data, int index, long argl,
                        void *argp)
{
    struct staple *staple = arg;

    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    if (staple == NULL)
        return;
    OPENSSL_free(staple->bytes);
    free(staple);
}

static int place(void)
{
    static int index = -1; /* contexts are made by the main thread */

    if (index == -1)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_staple);
    return index;
}

static int on_status_request(SSL *ssl, void *arg)
{
    const struct staple *staple = arg;

    if (staple->until != 0 && time(NULL) > staple->until)
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *copy = OPENSSL_memdup(staple->bytes, (size_t)staple->len);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, staple->len);
    return SSL_TLSEXT_ERR_OK;
}

/* The certificate of who signed that of the context; NULL when its chain does not have it. */
static X509 *issuer_of(SSL_CTX *ctx)
{
    X509 *certificate = SSL_CTX_get0_certificate(ctx);
    STACK_OF(X509) *chain = NULL;

    SSL_CTX_get0_chain_certs(ctx, &chain);
    for (int i = 0; i < sk_X509_num(chain); ++i)
        if (X509_check_issued(sk_X509_value(chain, i), certificate) == X509_V_OK)
            return sk_X509_value(chain, i);
    return X509_check_issued(certificate, certificate) == X509_V_OK ? certificate : NULL;
}

static time_t time_of(const ASN1_GENERALIZEDTIME *stamp)
{
    struct tm parts;

    return stamp != NULL && ASN1_TIME_to_tm(stamp, &parts) == 1 ? timegm(&parts) : 0;
}

/* NULL, or what is against handing it out. */
static const char *judge(SSL_CTX *ctx, OCSP_RESPONSE *response, time_t *until)
{
    ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
    X509 *issuer = issuer_of(ctx);
    int status = -1;

    if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        return "is an error of the responder";
    if (issuer == NULL)
        return "cannot be checked: the certificate's file does not hold the one of its issuer";
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, SSL_CTX_get0_certificate(ctx), issuer);
    int found = basic != NULL && id != NULL
                    ? OCSP_resp_find_status(basic, id, &status, NULL, NULL, &from, &to)
                    : 0;
    const char *what = NULL;
    if (found != 1)
        what = "is of another certificate";
    else if (status != V_OCSP_CERTSTATUS_GOOD)
        what = "does not say that the certificate is good";
    else if (OCSP_check_validity(from, to, CLOCK_SKEW_S, -1) != 1)
        what = "is out of date";
    *until = time_of(to);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return what;
}

static OCSP_RESPONSE *read_file(const char *file)
{
    BIO *in = BIO_new_file(file, "rb");
    OCSP_RESPONSE *response = in != NULL ? d2i_OCSP_RESPONSE_bio(in, NULL) : NULL;

    BIO_free(in);
    ERR_clear_error();
    return response;
}

void sky_ocsp_staple(SSL_CTX *ctx, const char *file)
{
    OCSP_RESPONSE *response = read_file(file);
    time_t until = 0;
    const char *what = response != NULL ? judge(ctx, response, &until)
                                        : "cannot be read as an OCSP response in DER";
    struct staple *staple = what == NULL ? calloc(1, sizeof(*staple)) : NULL;

    if (what != NULL)
        sky_log(SKY_LOG_WARN, "ocsp %s: %s; clients get no answer with the certificate", file,
                what);
    if (staple != NULL) {
        staple->len = i2d_OCSP_RESPONSE(response, &staple->bytes);
        staple->until = until;
        SSL_CTX_set_ex_data(ctx, place(), staple);
        SSL_CTX_set_tlsext_status_cb(ctx, on_status_request);
        SSL_CTX_set_tlsext_status_arg(ctx, staple);
    }
    OCSP_RESPONSE_free(response);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_token.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "reporter/log.h"

#define MAC_BYTES (SKY_STITCH_MAC_HEX / 2)

/* Keyed once; each mac starts the context anew, which is a fifth of the cost of keying it. */
struct sky_stitch_token {
    EVP_MAC_CTX *ctx;
};

static EVP_MAC_CTX *new_context(const char *secret)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context holds a reference */
    if (ctx == NULL)
        return NULL;
    if (EVP_MAC_init(ctx, (const unsigned char *)secret, strlen(secret), params) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

struct sky_stitch_token *sky_stitch_token_new(const char *secret)
{
    if (secret == NULL || secret[0] == '\0')
        return NULL;
    struct sky_stitch_token *token = malloc(sizeof(*token));
    EVP_MAC_CTX *ctx = new_context(secret);
    if (token == NULL || ctx == NULL) {
        sky_log(SKY_LOG_ERROR,
                "stitch.token: OpenSSL has no HMAC-SHA256; going on without the token");
        EVP_MAC_CTX_free(ctx);
        free(token);
        return NULL;
    }
    token->ctx = ctx;
    return token;
}

bool sky_stitch_token_mac(struct sky_stitch_token *token, struct sky_text segment,
                          struct sky_text t0, char dst[SKY_STITCH_MAC_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char mac[MAC_BYTES];
    size_t len;

    if (EVP_MAC_init(token->ctx, NULL, 0, NULL) != 1 ||
        EVP_MAC_update(token->ctx, (const unsigned char *)segment.base, segment.len) != 1 ||
        EVP_MAC_update(token->ctx, (const unsigned char *)";", 1) != 1 ||
        EVP_MAC_update(token->ctx, (const unsigned char *)t0.base, t0.len) != 1 ||
        EVP_MAC_final(token->ctx, mac, &len, sizeof(mac)) != 1 || len != sizeof(mac))
        return false;
    for (size_t i = 0; i < sizeof(mac); i++) {
        dst[2 * i] = digits[mac[i] >> 4];
        dst[2 * i + 1] = digits[mac[i] & 15];
    }
    return true;
}

void sky_stitch_token_destroy(struct sky_stitch_token *token)
{
    if (token == NULL)
        return;
    EVP_MAC_CTX_free(token->ctx);
    free(token);
}

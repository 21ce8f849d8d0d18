/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate's OCSP answer from a file, which somebody else keeps new (a timer with
 * `openssl ocsp -respout`), handed to clients in the handshake (RFC 6066, 8). */
#ifndef SKY_PROXY_FRONT_OCSP_H
#define SKY_PROXY_FRONT_OCSP_H

#include <openssl/ssl.h>

/* sky_ocsp_staple: from now on clients of the context that ask get the answer of the file, as long
 * as it is good. One that cannot be read, is of another certificate, says that it is revoked, or is
 * out of date is not handed out, after a warning: the certificate serves without it. */
void sky_ocsp_staple(SSL_CTX *ctx, const char *file);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What one listener's TLS is made of: certificates, protocol versions, client certificates. Made
 * at start and by each reload, then shared by all threads. */
#ifndef SKY_PROXY_FRONT_TLS_H
#define SKY_PROXY_FRONT_TLS_H

#include <openssl/ssl.h>
#include <stddef.h>

#include "proxy/config/config.h"
#include "proxy/counters.h"

struct sky_tls;

/* sky_tls_new: reads the files. TLS 1.2 and 1.3, ALPN h2 and http/1.1. A client that names a host
 * gets the first certificate made for it, else the first of all. NULL with one line in error: which
 * file, what is wrong with it, what to do. */
struct sky_tls *sky_tls_new(const struct sky_tls_config *config, char *error, size_t error_size);

/* sky_tls_context: for handshakes; it changes to that of another certificate on the way. */
SSL_CTX *sky_tls_context(const struct sky_tls *tls);

/* sky_tls_destroy: gives up the caller's reference to the context; all goes with the last one, that
 * of a connection maybe. NULL is nothing. */
void sky_tls_destroy(struct sky_tls *tls);

/* sky_tls_failure: which counter a failed handshake belongs to, by this thread's OpenSSL errors.
 */
enum sky_counter sky_tls_failure(void);

#endif

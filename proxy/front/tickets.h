/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of TLS session tickets: one set for all listeners and workers of the process, so that a
 * session is resumed wherever the client comes in, also after a reload. A key makes tickets for
 * timeouts.ticket_key, and opens them for as long again; then it is forgotten, and with it what
 * could decrypt recorded sessions of TLS 1.2. */
#ifndef SKY_PROXY_FRONT_TICKETS_H
#define SKY_PROXY_FRONT_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* sky_tickets_set_period: any thread. */
void sky_tickets_set_period(uint32_t period_ms);

/* sky_tickets_use: handshakes of the context use these keys. False when OpenSSL does not take it.
 * What a session may be resumed for is up to the context's session id context. */
bool sky_tickets_use(SSL_CTX *ctx);

/* sky_tickets_hand_over: a pipe that holds the keys, for the process that takes this one's place to
 * read: they are in no file and no environment. The descriptor is the caller's, close-on-exec. -1:
 * there are none yet, or no pipe. */
int sky_tickets_hand_over(void);

/* sky_tickets_take_over: reads that pipe and closes it; before the first handshake. False: it holds
 * no keys of this form. */
bool sky_tickets_take_over(int fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The secret that proxy and helper may share when they have no channel: it proves to the helper
 * that a request came through this proxy (stitch protocol, "Who may talk"). One thread. */
#ifndef SKY_PROXY_STITCH_STITCH_TOKEN_H
#define SKY_PROXY_STITCH_STITCH_TOKEN_H

#include <stdbool.h>

#include "propagation/text.h"

struct sky_stitch_token;

#define SKY_STITCH_MAC_HEX 64

/* sky_stitch_token_new: NULL when secret is empty, or when OpenSSL has no HMAC-SHA256 (one log
 * line). */
struct sky_stitch_token *sky_stitch_token_new(const char *secret);

/* sky_stitch_token_mac: writes hex HMAC-SHA256(secret, segment;t0), SKY_STITCH_MAC_HEX characters,
 * no NUL. Both texts as the request carries them. False when OpenSSL fails. */
bool sky_stitch_token_mac(struct sky_stitch_token *token, struct sky_text segment,
                          struct sky_text t0, char dst[SKY_STITCH_MAC_HEX]);

/* sky_stitch_token_destroy: NULL is fine. */
void sky_stitch_token_destroy(struct sky_stitch_token *token);

#endif

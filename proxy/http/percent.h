/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a request's path as the app will see it, %XX decoded (RFC 3986, 2.1), one byte at a time.
 */
#ifndef SKY_PROXY_HTTP_PERCENT_H
#define SKY_PROXY_HTTP_PERCENT_H

#include <stdint.h>

#include "propagation/text.h"

static inline int sky_percent_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* sky_percent_take: takes the next byte off *rest, which must not be empty. A % without two hex
 * digits stands for itself. */
static inline uint8_t sky_percent_take(struct sky_text *rest)
{
    const char *at = rest->base;
    int high, low;

    if (*at == '%' && rest->len >= 3 && (high = sky_percent_digit(at[1])) >= 0 &&
        (low = sky_percent_digit(at[2])) >= 0) {
        *rest = sky_text(at + 3, rest->len - 3);
        return (uint8_t)(high << 4 | low);
    }
    *rest = sky_text(at + 1, rest->len - 1);
    return (uint8_t)*at;
}

/* sky_percent_path: a request target without its query. */
static inline struct sky_text sky_percent_path(struct sky_text target)
{
    const char *query = target.len != 0 ? memchr(target.base, '?', target.len) : NULL;

    return query != NULL ? sky_text(target.base, (size_t)(query - target.base)) : target;
}

#endif

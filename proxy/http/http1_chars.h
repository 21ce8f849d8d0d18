/* SPDX-License-Identifier: Apache-2.0 */
/* The classes of bytes that HTTP/1 is made of (RFC 9110, 5.5 and 5.6; RFC 9112, 3). */
#ifndef SKY_PROXY_HTTP_HTTP1_CHARS_H
#define SKY_PROXY_HTTP_HTTP1_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sky_http1_class {
    SKY_HTTP1_TOKEN = 1,  /* tchar: methods, field names */
    SKY_HTTP1_VALUE = 2,  /* in a field value: visible, obs-text, SP, HTAB */
    SKY_HTTP1_TARGET = 4, /* in a request target: visible but `#`, and 80-ff as clients send them */
    SKY_HTTP1_HOST = 8,   /* in the name part of a Host: unreserved, pct-encoded, sub-delims */
    SKY_HTTP1_HEX = 16,
    SKY_HTTP1_DIGIT = 32
};

/* Sets of enum sky_http1_class, by byte. */
extern const uint8_t sky_http1_classes[256];

static inline bool sky_http1_is(char byte, enum sky_http1_class class)
{
    return (sky_http1_classes[(uint8_t)byte] & class) != 0;
}

/* sky_http1_is_value: whether all bytes are SKY_HTTP1_VALUE; values are most of a head, so this
 * does not go byte by byte through the table. */
bool sky_http1_is_value(const char *bytes, size_t len);

#endif

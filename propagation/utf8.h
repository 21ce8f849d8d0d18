/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 for protobuf strings: one bad string makes OAP end the stream and lose what follows in
 * it. Pure: no allocation, no clock, no I/O. */
#ifndef SKY_PROPAGATION_UTF8_H
#define SKY_PROPAGATION_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "propagation/text.h"

/* sky_utf8_valid: true when text is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms,
 * at most U+10FFFF) and has no NUL. */
bool sky_utf8_valid(struct sky_text text);

/* sky_utf8_clean: copies text to dst, which must hold 3 * text.len bytes; each maximal ill-formed
 * part becomes one U+FFFD, NUL is left out. Returns the bytes written; no NUL is added. */
size_t sky_utf8_clean(char *dst, struct sky_text text);

/* sky_utf8_cut: the longest prefix of text of at most `limit` bytes that splits no character. */
struct sky_text sky_utf8_cut(struct sky_text text, size_t limit);

#endif

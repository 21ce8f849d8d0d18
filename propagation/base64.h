/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648, section 4: standard alphabet, padded. Pure: no allocation, no clock, no I/O.
 */
#ifndef SKY_PROPAGATION_BASE64_H
#define SKY_PROPAGATION_BASE64_H

#include <stddef.h>
#include <sys/types.h>

#include "propagation/text.h"

/* Bytes that `len` bytes take when encoded. */
#define SKY_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* sky_base64_encode: writes SKY_BASE64_LEN(bytes.len) characters to dst, which must hold them; no
 * NUL is added. Returns the number written. */
size_t sky_base64_encode(char *dst, struct sky_text bytes);

/* sky_base64_decode: decodes into dst, which must hold text.len / 4 * 3 bytes. Returns the number
 * of bytes, or -1 when text is not whole: wrong length, foreign character, padding out of place, or
 * non-zero bits behind the last byte. */
ssize_t sky_base64_decode(char *dst, struct sky_text text);

#endif

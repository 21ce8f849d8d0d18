/* SPDX-License-Identifier: Apache-2.0 */
/* The values of header fields, piece by piece (RFC 9110, 5.6). */
#ifndef SKY_PROXY_HTTP_FIELD_TEXT_H
#define SKY_PROXY_HTTP_FIELD_TEXT_H

#include <string.h>

#include "propagation/text.h"

/* sky_field_trim: without the blanks and tabs around it. */
static inline struct sky_text sky_field_trim(struct sky_text text)
{
    while (text.len != 0 && (text.base[0] == ' ' || text.base[0] == '\t'))
        text = sky_text(text.base + 1, text.len - 1);
    while (text.len != 0 && (text.base[text.len - 1] == ' ' || text.base[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* sky_field_cut: cuts off what stands before the separator, or all, and trims it; the separator
 * goes, too. Quoted strings are not known here: not for fields that may have some. */
static inline struct sky_text sky_field_cut(struct sky_text *text, char separator)
{
    const char *end = text->len != 0 ? memchr(text->base, separator, text->len) : NULL;
    struct sky_text piece = *text;

    if (end == NULL) {
        *text = sky_text(NULL, 0);
        return sky_field_trim(piece);
    }
    piece.len = (size_t)(end - piece.base);
    *text = sky_text(end + 1, text->len - piece.len - 1);
    return sky_field_trim(piece);
}

#endif

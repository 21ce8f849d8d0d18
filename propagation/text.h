/* SPDX-License-Identifier: Apache-2.0 */
/* A view of bytes: pointer and length, no terminating NUL, owner named where it is used. */
#ifndef SKY_PROPAGATION_TEXT_H
#define SKY_PROPAGATION_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct sky_text {
    const char *base; /* may be NULL when len is 0 */
    size_t len;       /* bytes */
};

/* A view of a string literal. */
#define SKY_TEXT(literal) ((struct sky_text){(literal), sizeof(literal) - 1})

/* The same as an initializer, for tables: a compound literal is no constant in C11. */
/* clang-format off */
#define SKY_TEXT_INIT(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */

static inline struct sky_text sky_text(const char *base, size_t len)
{
    return (struct sky_text){base, len};
}

/* sky_text_of: a view of a NUL-terminated string; NULL gives the empty view. */
static inline struct sky_text sky_text_of(const char *string)
{
    return (struct sky_text){string, string != NULL ? strlen(string) : 0};
}

static inline bool sky_text_equal(struct sky_text a, struct sky_text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* sky_text_equal_nocase: ASCII case is ignored, as HTTP field names want it (RFC 9110, 5.1). */
static inline bool sky_text_equal_nocase(struct sky_text a, struct sky_text b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.base, b.base, a.len) == 0);
}

static inline bool sky_text_starts(struct sky_text text, struct sky_text prefix)
{
    return text.len >= prefix.len &&
           (prefix.len == 0 || memcmp(text.base, prefix.base, prefix.len) == 0);
}

#endif

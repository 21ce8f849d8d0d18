/* SPDX-License-Identifier: Apache-2.0 */
/* The operation name of a request whose route is not known (yet). Pure. */
#ifndef SKY_PROXY_TRACE_OPERATION_H
#define SKY_PROXY_TRACE_OPERATION_H

#include <stddef.h>

#include "propagation/text.h"
#include "proxy/config/config.h"

/* OAP cuts endpoint names there. */
#define SKY_OPERATION_MAX_BYTES 150

/* sky_operation_name: writes the name to dst, no NUL. Returns its
 * length, 1..SKY_OPERATION_MAX_BYTES; the name is UTF-8, cut at a character. The target is the
 * request's, its query is left out, %XX is decoded but for `/`, `%` and control characters.
 *
 * SKY_OPERATION_FOLDED gives METHOD:/path; a method outside RFC 9110 and PATCH is OTHER. To keep
 * the number of names low, a segment of the path becomes {id} when it is
 *   - digits alone;
 *   - hex digits and dashes, 8 hex digits or more and one of them 0-9 (UUIDs, digests, dates);
 *   - 20 bytes or more, with both a letter and a digit (tokens, slugs).
 * SKY_OPERATION_PATH gives the path alone, as the in-app agent does. */
size_t sky_operation_name(enum sky_operation form, struct sky_text method, struct sky_text target,
                          char dst[SKY_OPERATION_MAX_BYTES]);

#endif

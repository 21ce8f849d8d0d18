/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the answer's sw8-stitch field:
 * `1;<component>;<begin>;<duration>;<more>;<handler>;<operation>`. Pure: no allocation, no clock,
 * no I/O. */
#ifndef SKY_PROXY_STITCH_STITCH_HEADER_H
#define SKY_PROXY_STITCH_STITCH_HEADER_H

#include "proxy/stitch/stitch_part.h"

#define SKY_STITCH_HEADER_MAX_BYTES 512

enum sky_stitch_header_result {
    SKY_STITCH_HEADER_OK,
    SKY_STITCH_HEADER_BAD,    /* too long, not seven fields, a bad number, byte or %XX, not UTF-8 */
    SKY_STITCH_HEADER_VERSION /* another version than 1 */
};

/* sky_stitch_header_parse: fills *header from a value without blanks around it. Its texts point
 * into storage, which must hold value.len bytes. *header is unspecified unless OK is returned. */
enum sky_stitch_header_result sky_stitch_header_parse(struct sky_text value, char *storage,
                                                      struct sky_app_header *header)
    __attribute__((warn_unused_result));

#endif

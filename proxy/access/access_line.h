/* SPDX-License-Identifier: Apache-2.0 */
/* One request as one line of the access log. Pure. */
#ifndef SKY_PROXY_ACCESS_ACCESS_LINE_H
#define SKY_PROXY_ACCESS_ACCESS_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"
#include "proxy/config/config.h"

/* What there is to say; empty texts and negative times are left out, or `-`. */
struct sky_access {
    int64_t received_us; /* the first byte of the request line; since 1970 */
    struct sky_text client, method, target, protocol, host, referer, user_agent;
    int status;
    uint64_t bytes;                                  /* of the answer's body */
    struct sky_text trace_id, segment_id, operation; /* when traced */
    struct sky_text upstream, failure;
    bool client_gone;
    int64_t queue_us, connect_us, first_byte_us, total_us;
};

/* The longest line. */
#define SKY_ACCESS_LINE_BYTES 53248

/* sky_access_line: writes the line with its newline to dst; returns its length. All foreign bytes
 * but printable ASCII are escaped (`\xHH`; in JSON `\uHHHH`, bytes that are no UTF-8 as if they
 * were Latin-1), so that whoever reads the log sees as many lines as there were requests. Long
 * fields are cut and end in `...`. */
size_t sky_access_line(enum sky_access_format format, const struct sky_access *access,
                       char dst[SKY_ACCESS_LINE_BYTES]);

#endif

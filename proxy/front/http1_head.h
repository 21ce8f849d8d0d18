/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1 request: where it ends, whether it may be served, what it says.
 *
 * Stricter than RFC 9112 asks a server to be: whatever two readers could understand differently is
 * refused, since the app behind is the second reader. Pure: no allocation, clock or system call. */
#ifndef SKY_PROXY_FRONT_HTTP1_HEAD_H
#define SKY_PROXY_FRONT_HTTP1_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "propagation/text.h"
#include "proxy/front/http1_refusal.h"

struct sky_head_limits {
    size_t request_line_bytes; /* without its CRLF */
    size_t head_bytes;         /* of everything, from the first byte to the empty line */
    size_t field_count;
};

/* How far a head has been looked at. Zeroed before its first byte. */
struct sky_head_scan {
    size_t scanned;    /* bytes looked at */
    size_t line_start; /* of the line under way */
    size_t line_count; /* whole lines */
    size_t begin;      /* of the request line: 2 after an empty line, which RFC 9112, 2.2 allows */
    size_t end;        /* behind the empty line, once there */
    enum sky_refusal refusal;
};

enum sky_head_result { SKY_HEAD_MORE, SKY_HEAD_WHOLE, SKY_HEAD_REFUSED };

/* sky_head_scan: looks at what has come since the last call; `input` starts with the head's first
 * byte each time. WHOLE: scan->begin and scan->end are set, every line ends in CRLF and is no
 * continuation. REFUSED: scan->refusal says why. The verdict does not depend on how the bytes were
 * cut. */
enum sky_head_result sky_head_scan(struct sky_head_scan *scan, const struct sky_head_limits *limits,
                                   struct sky_text input) __attribute__((warn_unused_result));

struct sky_head_field {
    struct sky_text name; /* as given */
    struct sky_text value;
};

/* All texts point into the bytes parsed. */
struct sky_head {
    struct sky_text method;
    struct sky_text target;  /* path and query, or `*` */
    bool target_lacks_slash; /* absolute form without a path: "/" belongs in front of the target */
    struct sky_text authority; /* of the target, else of Host; empty when there is neither */
    bool http11;
    bool keep_alive; /* what the client wants */
    bool chunked;    /* the body's framing: one of chunked, has_length, or no body */
    bool has_length;
    bool expects_continue;   /* and is HTTP/1.1 */
    struct sky_text upgrade; /* the protocols asked for (RFC 9110, 7.8); empty: none, or not so that
                                it may be passed on: h2c, a body, HTTP/1.0, not named in Connection
                              */
    uint64_t content_length;
    struct sky_head_field *fields; /* the caller's; all but Host, Content-Length, Transfer-Encoding,
                                      Expect and Upgrade */
    size_t field_count;
    size_t dropped_count; /* fields with an underscore in the name: left out */
};

/* sky_head_parse: takes apart a head that sky_head_scan found whole (from begin to end).
 * head->fields must have room for as many fields as the limits allow; everything else is set here.
 * Returns SKY_REFUSAL_none, or why the request is refused; then head->method and head->target are
 * set if the request line was sound. */
enum sky_refusal sky_head_parse(struct sky_text bytes, struct sky_head *head)
    __attribute__((warn_unused_result));

/* sky_head_is_host: whether a Host or an authority may say this; it may be empty. */
bool sky_head_is_host(struct sky_text host);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parser of an app's answer head (RFC 9112): status line, fields, framing. Pure.
 *
 * libh2o's picohttpparser refuses `HTTP/1.1 200` without a blank behind it and takes bare LF and
 * folded lines; here an answer is either understood wholly or refused. */
#ifndef SKY_PROXY_BACK_HTTP1_ANSWER_H
#define SKY_PROXY_BACK_HTTP1_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"

#define SKY_ANSWER_MAX_BYTES 65536 /* of a head */
#define SKY_ANSWER_MAX_FIELDS 256
#define SKY_ANSWER_MAX_NOMINATED 32 /* names in Connection */

#define SKY_ANSWER_NO_LENGTH UINT64_MAX

/* Where the body ends (RFC 9112, 6.3). */
enum sky_answer_framing {
    SKY_ANSWER_EMPTY,   /* there is none: HEAD, 1xx, 204, 304 whatever they say, or length 0 */
    SKY_ANSWER_LENGTH,  /* after content_length bytes */
    SKY_ANSWER_CHUNKED, /* by the chunked coding */
    SKY_ANSWER_CLOSE    /* with the connection */
};

struct sky_answer_field {
    struct sky_text name, value; /* as received, blanks around the value left out */
};

/* Texts point into the bytes that were parsed. */
struct sky_answer {
    size_t head_bytes; /* what follows is the body */
    int status;        /* 100 to 999 */
    struct sky_text reason;
    enum sky_answer_framing framing;
    uint64_t content_length; /* as the head says; SKY_ANSWER_NO_LENGTH: it says nothing */
    bool keep_alive;         /* the connection may be used again after the body */

    struct sky_text upgrade; /* the last Upgrade field; empty: none */

    struct sky_text stitch;      /* first sw8-stitch field */
    size_t stitch_count;         /* of such fields */
    struct sky_text stitch_data; /* first sw8-stitch-data field */
    size_t stitch_data_count;    /* of such fields */

    /* What is for the client, in order: without the fields of the connection (RFC 9110, 7.6.1: the
     * known ones and those that Connection names), Content-Length and sw8-stitch*. */
    size_t field_count;
    struct sky_answer_field fields[SKY_ANSWER_MAX_FIELDS];
};

/* How far a head has been looked at. Zeroed before its first byte. */
struct sky_answer_scan {
    size_t line; /* where the line under way begins */
    size_t at;   /* looked at up to here */
};

enum sky_answer_result {
    SKY_ANSWER_MORE, /* sound so far, not whole */
    SKY_ANSWER_DONE,
    SKY_ANSWER_ERROR
};

/* sky_answer_parse: `bytes` are all that came of this head so far, maybe with what follows it. Only
 * new bytes are looked at until the head is whole; *answer is set for SKY_ANSWER_DONE alone. For
 * SKY_ANSWER_ERROR *defect is a static text. `head_request`: the request was HEAD. */
enum sky_answer_result sky_answer_parse(struct sky_text bytes, bool head_request,
                                        struct sky_answer_scan *scan, struct sky_answer *answer,
                                        const char **defect) __attribute__((warn_unused_result));

#endif

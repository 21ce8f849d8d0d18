/* SPDX-License-Identifier: Apache-2.0 */
/* What a request wants of a file: all, a part, or to hear that it has not changed (RFC 9110, 13 and
 * 14). Pure. */
#ifndef SKY_PROXY_ROUTE_FILE_CONDITION_H
#define SKY_PROXY_ROUTE_FILE_CONDITION_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "propagation/text.h"

/* Values of the request's fields; the empty text for one that is not there. */
struct sky_file_wishes {
    struct sky_text if_match, if_none_match, if_modified_since, if_unmodified_since, if_range;
    struct sky_text range; /* of a GET; empty for other methods */
};

struct sky_file_state {
    uint64_t size;
    time_t modified;
    struct sky_text etag; /* strong, with its quotes */
};

enum sky_file_verdict {
    SKY_FILE_WHOLE,        /* 200 */
    SKY_FILE_PART,         /* 206 */
    SKY_FILE_UNCHANGED,    /* 304 */
    SKY_FILE_FAILED,       /* 412 */
    SKY_FILE_UNSATISFIABLE /* 416 */
};

struct sky_file_part {
    uint64_t first, length;
};

/* sky_file_judge: sets *part for WHOLE and PART. Several ranges in one request get the whole file,
 * as RFC 9110, 14.2 allows. */
enum sky_file_verdict sky_file_judge(const struct sky_file_wishes *wishes,
                                     const struct sky_file_state *state,
                                     struct sky_file_part *part);

#endif

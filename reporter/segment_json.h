/* SPDX-License-Identifier: Apache-2.0 */
/* Reads segments from the JSON of POST /v3/segments: foreign bytes. */
#ifndef SKY_REPORTER_SEGMENT_JSON_H
#define SKY_REPORTER_SEGMENT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "reporter/packets.h"

/* sky_segments_from_json: appends the packed segments of a JSON array of SegmentObject to the empty
 * list. false, with a sentence in error and the list empty, when the body exceeds 10 MiB, is no
 * such array, or has a segment that OAP would not store: without ids, without a span 0, above 3
 * MiB. */
bool sky_segments_from_json(struct sky_text body, struct sky_packets *segments, char *error,
                            size_t error_size) __attribute__((warn_unused_result));

#endif

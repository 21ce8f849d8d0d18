/* SPDX-License-Identifier: Apache-2.0 */
/* JSON written straight into a growing text: request bodies and pages are made of thousands of
 * segments, for which a tree of values would only be built to be thrown away. */
#ifndef SKY_REPORTER_JSON_TEXT_H
#define SKY_REPORTER_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"

/* Zero-initialised is empty. Once memory is out, `failed` stays set and nothing more is written. */
struct sky_json_text {
    char *base; /* heap, NUL-terminated unless failed or empty */
    size_t length, room;
    bool failed;
};

/* sky_json_raw: appends bytes as they are. */
void sky_json_raw(struct sky_json_text *json, struct sky_text bytes);

/* sky_json_string: appends valid UTF-8 as a string with its quotes. */
void sky_json_string(struct sky_json_text *json, struct sky_text text);

void sky_json_number(struct sky_json_text *json, int64_t number);

void sky_json_bool(struct sky_json_text *json, bool value);

/* sky_json_key: appends a comma unless an object or array has just begun, then "key": . */
void sky_json_key(struct sky_json_text *json, const char *key);

/* sky_json_comma: appends a comma unless an object or array has just begun. */
void sky_json_comma(struct sky_json_text *json);

/* sky_json_take: the finished text, now the caller's (free); NULL when memory was out. The text is
 * empty after. */
char *sky_json_take(struct sky_json_text *json);

#endif

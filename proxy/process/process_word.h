/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what a process of the app says beside its requests: a JSON object with "process" in place
 * of "segment" (docs/stitch-protocol.md). What is wrong in a part of it is left out. No clock, no
 * I/O. */
#ifndef SKY_PROXY_PROCESS_PROCESS_WORD_H
#define SKY_PROXY_PROCESS_PROCESS_WORD_H

#include <stdbool.h>

#include "reporter/records.h"

struct json_t;

/* Of an id; it is one in the whole pod: the process's number and something random. */
#define SKY_PROCESS_ID_BYTES 64

#define SKY_PROCESS_MAX_PROPERTIES 32
#define SKY_PROCESS_PROPERTY_BYTES 200
#define SKY_PROCESS_MAX_LOGS 512 /* a message */
#define SKY_PROCESS_MAX_LOG_TAGS 16

/* Totals since the process began, but for memory and threads. None is negative. */
struct sky_process_meters {
    int64_t cpu_us, rss_bytes, threads;
    int64_t gc_collected[3]; /* objects, by generation */
    int64_t gc_us;           /* time in collections */
};

/* Texts and JSON are the message's. */
struct sky_process_word {
    struct sky_text process;
    const struct json_t *properties, *logs; /* NULL when none are there */
    struct sky_text request; /* id of a segment that is open just now; may be empty */
    bool has_meters;
    struct sky_process_meters meters;
    uint32_t lost_logs; /* records that the helper could not send since it last said so */
};

/* sky_process_word_read: false when there is no id of a process. */
bool sky_process_word_read(const struct json_t *root, struct sky_process_word *word);

/* sky_process_property: the i-th property; false when it is none, or is too long or has a NUL. */
bool sky_process_property(const struct sky_process_word *word, size_t i, struct sky_tag *property);

/* sky_process_log_count: how many log records are read; more are left out. */
size_t sky_process_log_count(const struct sky_process_word *word);

/* sky_process_log: the i-th log record, with its tags in `tags`; false when it is none. */
bool sky_process_log(const struct sky_process_word *word, size_t i,
                     struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS], struct sky_log_record *record);

#endif

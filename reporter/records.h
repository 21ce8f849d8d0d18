/* SPDX-License-Identifier: Apache-2.0 */
/* What is reported beside segments, as values, and its packing into protobuf: log records, events,
 * meters. All texts and arrays are the caller's and only read; they may hold any bytes, packing
 * cleans them. Any thread. */
#ifndef SKY_REPORTER_RECORDS_H
#define SKY_REPORTER_RECORDS_H

#include "reporter/segment.h"

/* Who reports. */
struct sky_reported_by {
    struct sky_text service, instance;
};

struct sky_log_record {
    int64_t at_ms; /* since 1970 */
    struct sky_text text;
    struct sky_text endpoint;             /* empty: none known */
    struct sky_text trace_id, segment_id; /* both empty: written outside of a request */
    int32_t span_id;
    const struct sky_tag *tags;
    size_t tag_count;
};

struct sky_event {
    struct sky_text uuid, name, message;
    int64_t start_ms, end_ms; /* since 1970; end 0: not over */
};

struct sky_meter {
    const char *name;
    double value;
};

/* sky_log_record_pack, sky_event_pack, sky_meters_pack: packets of SKY_PACKET_LOG, _EVENT and
 * _METERS. NULL when memory is out or the packed size exceeds 3 MiB. Meters are one set: OAP wants
 * all values of one time together. */
struct sky_packet *sky_log_record_pack(const struct sky_reported_by *by,
                                       const struct sky_log_record *record)
    __attribute__((warn_unused_result));
struct sky_packet *sky_event_pack(const struct sky_reported_by *by, const struct sky_event *event)
    __attribute__((warn_unused_result));
struct sky_packet *sky_meters_pack(const struct sky_reported_by *by, int64_t at_ms,
                                   const struct sky_meter *meters, size_t count)
    __attribute__((warn_unused_result));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A finished segment as values, and its packing into protobuf (proto/tracing.proto). */
#ifndef SKY_REPORTER_SEGMENT_H
#define SKY_REPORTER_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "propagation/text.h"

enum sky_span_type { SKY_SPAN_ENTRY = 0, SKY_SPAN_EXIT = 1, SKY_SPAN_LOCAL = 2 };

enum sky_layer {
    SKY_LAYER_UNKNOWN = 0,
    SKY_LAYER_DATABASE = 1,
    SKY_LAYER_RPC = 2,
    SKY_LAYER_HTTP = 3,
    SKY_LAYER_MQ = 4,
    SKY_LAYER_CACHE = 5,
    SKY_LAYER_FAAS = 6
};

enum sky_ref_type { SKY_REF_CROSS_PROCESS = 0, SKY_REF_CROSS_THREAD = 1 };

struct sky_tag {
    struct sky_text key, value;
};

struct sky_span_log {
    int64_t at_ms; /* since 1970 */
    const struct sky_tag *data;
    size_t data_count;
};

struct sky_ref {
    enum sky_ref_type type;
    struct sky_text trace_id, segment_id;
    int32_t span_id;
    struct sky_text service, instance, endpoint, address;
};

/* All texts and arrays are the caller's and only read. They may hold any bytes: packing cleans
 * them. */
struct sky_span {
    int32_t id, parent;        /* parent -1: root */
    int64_t start_ms, end_ms;  /* since 1970 */
    struct sky_text operation; /* cut to 150 bytes when packed */
    struct sky_text peer;      /* cut to 200 bytes when packed */
    enum sky_span_type type;
    enum sky_layer layer;
    int32_t component; /* component-libraries.yml */
    bool error;
    bool skip_analysis;
    const struct sky_tag *tags;
    size_t tag_count;
    const struct sky_span_log *logs;
    size_t log_count;
    const struct sky_ref *refs;
    size_t ref_count;
};

struct sky_segment {
    struct sky_text trace_id, segment_id, service, instance;
    bool size_limited; /* parts are known to be missing */
    const struct sky_span *spans;
    size_t span_count;
};

/* What message a packet is. The numbers go into files of the spool: they never change. */
enum sky_packet_kind {
    SKY_PACKET_SEGMENT = 0,    /* one SegmentObject */
    SKY_PACKET_LOG = 1,        /* one LogData */
    SKY_PACKET_EVENT = 2,      /* one Event */
    SKY_PACKET_METERS = 3,     /* one MeterDataCollection: of no use when it is old */
    SKY_PACKET_PROPERTIES = 4, /* one InstanceProperties, in place of the one before */
    SKY_PACKET_KEEP_ALIVE = 5, /* one InstancePingPkg */
    SKY_PACKET_KIND_COUNT
};

/* One packed message. Heap; whoever holds the pointer owns it and frees it with free(). Kind, size
 * and data never change after packing, so it may cross threads by handing the pointer over. */
struct sky_packet {
    struct sky_packet *next; /* of the list the packet is in, packets.h; its owner's alone */
    uint32_t size;           /* bytes of data */
    uint8_t kind;            /* enum sky_packet_kind */
    uint8_t data[];
};

/* sky_segment_pack: packs with every string made valid UTF-8. Returns NULL when memory is out, when
 * there is no span with id 0 (OAP would not store the trace), or when the packed size exceeds 3 MiB
 * (OAP 10.0 takes 4 MiB a message). The caller counts. */
struct sky_packet *sky_segment_pack(const struct sky_segment *segment)
    __attribute__((warn_unused_result));

#endif

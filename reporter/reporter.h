/* SPDX-License-Identifier: Apache-2.0 */
/* The reporter: one thread that takes packed segments from the workers' rings, holds them in a
 * bounded backlog (oldest dropped, counted), batches and sends them, and tells OAP who we are
 * (properties at start and every 300 s, keepAlive every 30 s).
 *
 * Life: new -> start -> (rings in use) -> stop -> destroy. A request never waits for it. */
#ifndef SKY_REPORTER_REPORTER_H
#define SKY_REPORTER_REPORTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reporter/histogram.h"
#include "reporter/ring.h"
#include "reporter/segment.h"
#include "reporter/spool/spool.h"

enum sky_protocol { SKY_PROTOCOL_LOCAL, SKY_PROTOCOL_GRPC, SKY_PROTOCOL_HTTP, SKY_PROTOCOL_KAFKA };

struct sky_property {
    const char *key, *value;
};

/* Calls of gRPC and REST over TLS. Paths are of PEM files; NULL and "" are none. They are read for
 * each new connection, so renewed ones are used without a restart. */
struct sky_backend_tls {
    bool enabled;
    const char *ca;                /* who may sign the backend's certificate; none: system roots */
    const char *certificate, *key; /* ours, with its chain: both or none */
    const char *server_name;       /* that the certificate must bear; none: the address's host */
};

/* For a stock kafka-fetcher of OAP. */
struct sky_kafka {
    const char *name_space; /* goes before the topics as "<name_space>-"; "" for none */
    const char *topic_segment, *topic_management, *topic_log, *topic_meter;
    const char *const *properties; /* "key=value" of librdkafka */
    size_t property_count;
};

struct sky_reporter;

/* Files for what memory does not hold; not with SKY_PROTOCOL_LOCAL. */
struct sky_spool_options {
    const char *path;    /* the folder; NULL and "" for none */
    uint64_t max_bytes;  /* of all its files; the oldest go */
    uint64_t rate_bytes; /* sent from it in a second; 0: no limit */
    enum sky_spool_sync sync;
};

/* All pointers are borrowed for the reporter's whole life. */
struct sky_reporter_options {
    enum sky_protocol protocol;
    const char *const *backends; /* "host:port" of gRPC, or of REST; one item with all brokers for
                                    Kafka; ignored by SKY_PROTOCOL_LOCAL */
    size_t backend_count;
    const char *authentication; /* token, "" for none */
    struct sky_backend_tls tls;
    bool drops_unclear; /* what was sent in a call that ended without an answer; else sent again */
    bool gzip;          /* gRPC messages are compressed */
    struct sky_kafka kafka;
    struct sky_spool_options spool;
    const char *service, *instance;
    const struct sky_property *properties;
    size_t property_count;
    size_t worker_count;        /* rings to make */
    size_t memory_bytes;        /* of the backlog, all rings included */
    size_t batch_bytes;         /* of one call */
    uint32_t batch_interval_ms; /* longest wait of a segment before its batch is sent */
    uint32_t heartbeat_ms;      /* keepAlive */
    uint32_t properties_every;  /* in heartbeats */
    /* Called in the reporter's thread with each batch interval: time to offer what is reported
     * now and then. NULL: nothing is. */
    void (*on_tick)(void *data, struct sky_reporter *reporter);
    void *tick_data;
    bool local_enabled; /* keep the newest segments for /api/traces */
    size_t local_bytes;
};

/* One X-macro row a counter: reporter/reporter_counters.def. Snapshot; any thread. */
struct sky_reporter_counters {
#define SKY_COUNTER(name, metric, labels, help) uint64_t name;
#include "reporter/reporter_counters.def"
#undef SKY_COUNTER
    uint64_t backlog_segments, backlog_bytes; /* gauges: not yet confirmed, without the rings */
    uint64_t spool_segments, spool_bytes;     /* gauges */
    bool spool_ready;                         /* the folder is open and the disk takes writes */
    struct sky_histogram_values batch_segments, call_ms; /* of calls with segments */
    uint64_t local_segments, local_bytes;
    bool connected; /* the backend in use answered last time, whatever it said of the segments */
    char last_error[256]; /* of a call, "" when none; NUL-terminated */
};

/* sky_reporter_new: copies nothing, starts nothing. NULL when memory is out. */
struct sky_reporter *sky_reporter_new(const struct sky_reporter_options *options);

/* sky_reporter_start: starts the thread. 0, or an errno value. */
int sky_reporter_start(struct sky_reporter *reporter) __attribute__((warn_unused_result));

/* sky_reporter_ring: worker i's ring; push only from that worker's thread. Owned by the reporter.
 */
struct sky_ring *sky_reporter_ring(struct sky_reporter *reporter, size_t worker);

/* sky_reporter_wake: any thread; what a worker calls at sky_ring_high_water. One system call. */
void sky_reporter_wake(struct sky_reporter *reporter);

/* sky_reporter_submit: any thread; takes a packet over that came from elsewhere (POST
 * /v3/segments). Kept, sent and counted as a worker's. Takes a lock, so not for a request's path.
 */
void sky_reporter_submit(struct sky_reporter *reporter, struct sky_packet *packet);

/* sky_reporter_takes: whether packets of the kind have a way to the backends: none has without one,
 * SkyWalking's REST knows no meters, its Kafka topics no events. */
bool sky_reporter_takes(const struct sky_reporter *reporter, enum sky_packet_kind kind);

/* sky_reporter_offer: any thread; takes a packet over that is no segment. Sent beside the segments,
 * counted by kind; properties replace those before. Takes a lock, so not for a plain request's
 * path. */
void sky_reporter_offer(struct sky_reporter *reporter, struct sky_packet *packet);

/* sky_reporter_counters: fills a snapshot. Any thread. */
void sky_reporter_counters(struct sky_reporter *reporter, struct sky_reporter_counters *counters);

/* sky_reporter_stop: drains the rings, sends what is held until deadline_ms has passed, counts the
 * rest as dropped (reason stop), ends and joins the thread. With a spool what is left after half of
 * that time goes into it, and all of it at once when no backend answers. The workers must not push
 * any more. */
void sky_reporter_stop(struct sky_reporter *reporter, uint32_t deadline_ms);

void sky_reporter_destroy(struct sky_reporter *reporter);

/* sky_reporter_traces_json: newest traces of the local store, newest first, at most `limit`, as the
 * JSON text of GET /api/traces. Heap, freed by the caller with free(); NULL when memory is out or
 * the store is off. Any thread. */
char *sky_reporter_traces_json(struct sky_reporter *reporter, size_t limit);

/* sky_reporter_trace_json: every segment of one trace, as the JSON text of GET /api/traces/{id};
 * NULL when there is none. Heap, caller frees. Any thread. */
char *sky_reporter_trace_json(struct sky_reporter *reporter, struct sky_text trace_id);

/* sky_reporter_accept_json: reads the body of POST /v3/segments (a JSON array of SegmentObject, the
 * protobuf JSON mapping) and submits each segment. Returns how many, or -1 with a message in error
 * when the body is no such array: then nothing is submitted. Any thread. */
int sky_reporter_accept_json(struct sky_reporter *reporter, struct sky_text body, char *error,
                             size_t error_size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How calls reach a backend: a table of functions, so that the sender knows no protocol and tests
 * bring a transport of their own. Reporter thread only. */
#ifndef SKY_REPORTER_TRANSPORT_H
#define SKY_REPORTER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reporter/packets.h"
#include "reporter/reporter.h"

enum sky_call_kind {
    SKY_CALL_SEGMENTS,   /* any number of SegmentObject */
    SKY_CALL_PROPERTIES, /* one InstanceProperties */
    SKY_CALL_KEEP_ALIVE, /* one InstancePingPkg */
    SKY_CALL_LOGS,       /* any number of LogData */
    SKY_CALL_EVENTS,     /* any number of Event */
    SKY_CALL_METERS,     /* one or more MeterDataCollection */
    SKY_CALL_KIND_COUNT
};

/* sky_call_of: the call that takes such packets. */
static inline enum sky_call_kind sky_call_of(enum sky_packet_kind kind)
{
    static const enum sky_call_kind calls[SKY_PACKET_KIND_COUNT] = {
        [SKY_PACKET_SEGMENT] = SKY_CALL_SEGMENTS,
        [SKY_PACKET_LOG] = SKY_CALL_LOGS,
        [SKY_PACKET_EVENT] = SKY_CALL_EVENTS,
        [SKY_PACKET_METERS] = SKY_CALL_METERS,
        [SKY_PACKET_PROPERTIES] = SKY_CALL_PROPERTIES,
        [SKY_PACKET_KEEP_ALIVE] = SKY_CALL_KEEP_ALIVE,
    };

    return calls[kind];
}

/* sky_call_owns_packets: whether the call's packets are freed with it; the heartbeat's are sent
 * again and again. */
static inline bool sky_call_owns_packets(enum sky_call_kind kind)
{
    return kind != SKY_CALL_PROPERTIES && kind != SKY_CALL_KEEP_ALIVE;
}

/* What a call's end means for what was in it. */
enum sky_outcome {
    SKY_OUTCOME_CONFIRMED,
    SKY_OUTCOME_REFUSED,     /* a backend that works will never take these bytes */
    SKY_OUTCOME_UNAVAILABLE, /* not taken now: keep, back off, another backend */
    SKY_OUTCOME_LATE,        /* the deadline passed, or not all was read: as above, and smaller */
    SKY_OUTCOME_DENIED,      /* the token is wrong: keep, try again slowly */
    SKY_OUTCOME_UNSUPPORTED  /* the backend does not know the call: keep, try again slowly */
};

struct sky_call;

typedef void sky_call_done_fn(struct sky_call *call);

/* The sender's, untouched by it from start to done or cancel. */
struct sky_call {
    enum sky_call_kind kind;
    size_t backend;             /* index into the options' backends */
    struct sky_packets packets; /* only read by the transport, but for the next two */
    /* A transport that hears of each segment moves those here that were taken or refused, just
     * before done or within cancel; the outcome is of the others. */
    struct sky_packets confirmed, refused;
    /* And here those, of segments alone, that the backend may have taken although it did not say
     * so. */
    struct sky_packets unclear;
    sky_call_done_fn *done;
    void *owner;
    /* Set before done. */
    enum sky_outcome outcome;
    uint64_t sent_bytes; /* of the body */
    char error[200];     /* what happened, when not all was confirmed */
};

struct sky_transport;

struct sky_transport_ops {
    /* Packed; a larger batch could exceed what backends take in one call. */
    size_t max_batch_bytes;
    const char *credentials_option; /* what to look at when a call is denied */
    unsigned lacks;                 /* bit n: SkyWalking has no way for call kind n here */
    /* Options are borrowed for the transport's life. NULL when memory is out. */
    struct sky_transport *(*create)(const struct sky_reporter_options *options);
    /* Begins a call; done is called later, from wait. false: memory is out, done is not called. */
    bool (*start)(struct sky_transport *transport, struct sky_call *call);
    /* Moves calls on until there was something to do, wake_fd is readable, or the time is over.
     * Returns whether wake_fd is readable. */
    bool (*wait)(struct sky_transport *transport, int wake_fd, int timeout_ms);
    /* Ends a call at once; done is not called. */
    void (*cancel)(struct sky_transport *transport, struct sky_call *call);
    void (*destroy)(struct sky_transport *transport); /* no call may be under way */
};

extern const struct sky_transport_ops sky_transport_grpc;
extern const struct sky_transport_ops sky_transport_http;
extern const struct sky_transport_ops sky_transport_kafka;

/* sky_reporter_new_with: as sky_reporter_new, over a transport of the caller's; NULL for none. */
struct sky_reporter *sky_reporter_new_with(const struct sky_reporter_options *options,
                                           const struct sky_transport_ops *ops);

#endif

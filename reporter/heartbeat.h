/* SPDX-License-Identifier: Apache-2.0 */
/* What tells a backend who we are, and when it is due: properties at the begin and with each so
 * many beats, a sign of life with each, which also probes whether the preferred backend works
 * again. Pure: time comes from the caller. */
#ifndef SKY_REPORTER_HEARTBEAT_H
#define SKY_REPORTER_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "reporter/reporter.h"
#include "reporter/transport.h"

struct sky_heartbeat {
    uint32_t period_ms, properties_every; /* beats */
    struct sky_packet *properties, *keep_alive;
    bool properties_due, keep_alive_due;
    bool probe_due; /* of the preferred backend: tells nothing of the one in use */
    int64_t next_ms;
    uint32_t beats;
};

/* sky_heartbeat_init: due at once. false: memory is out; fini is due all the same. */
bool sky_heartbeat_init(struct sky_heartbeat *heartbeat, const struct sky_reporter_options *options,
                        int64_t now_ms);

void sky_heartbeat_fini(struct sky_heartbeat *heartbeat);

/* sky_heartbeat_schedule: makes a beat due when its time has come; `is_substitute`: another backend
 * than the preferred is in use. */
void sky_heartbeat_schedule(struct sky_heartbeat *heartbeat, bool is_substitute, int64_t now_ms);

bool sky_heartbeat_is_due(const struct sky_heartbeat *heartbeat);

/* sky_heartbeat_renew: takes other properties over, due now. */
void sky_heartbeat_renew(struct sky_heartbeat *heartbeat, struct sky_packet *properties);

/* sky_heartbeat_fill: kind, backend and packet of the next call, which only borrows the packet:
 * `current` is the backend in use. Returns whether it is a probe. */
bool sky_heartbeat_fill(struct sky_heartbeat *heartbeat, struct sky_call *call, size_t current);

/* sky_heartbeat_answered, sky_heartbeat_probed: the call has ended, as an answer or as a probe of
 * that result. */
void sky_heartbeat_answered(struct sky_heartbeat *heartbeat, const struct sky_call *call);
void sky_heartbeat_probed(struct sky_heartbeat *heartbeat, bool is_working);

#endif

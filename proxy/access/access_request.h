/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to its line in the access log. Loop thread only. */
#ifndef SKY_PROXY_ACCESS_ACCESS_REQUEST_H
#define SKY_PROXY_ACCESS_ACCESS_REQUEST_H

#include <h2o.h>

#include "proxy/access/access_log.h"
#include "proxy/trace/trace.h"
#include "proxy/worker.h"

/* When a request got where, microseconds since 1970 (clock steps kept out, as in a trace); 0: it
 * did not get there. Zero-initialised; nothing is written to it while there is no access log. */
struct sky_access_times {
    int64_t wall_minus_monotonic_us;
    int64_t started_us;   /* the first attempt at a server */
    int64_t dialled_us;   /* the last attempt */
    int64_t connected_us; /* that attempt has its connection */
    int64_t answered_us;  /* the first byte of its answer */
};

/* sky_access_start: the first attempt, or a further one, begins. */
void sky_access_start(const struct sky_worker *worker, struct sky_access_times *times);

/* sky_access_stamp: writes the time of now to one of the times. */
void sky_access_stamp(const struct sky_worker *worker, struct sky_access_times *times, int64_t *at);

/* sky_access_request: the request is over. server and trace may be NULL; before sky_trace_end. */
void sky_access_request(struct sky_worker *worker, const h2o_req_t *req,
                        const struct sky_access_times *times, const char *server,
                        const struct sky_trace *trace, const struct sky_trace_outcome *outcome);

/* sky_access_refused: the front has answered a head that it did not accept; req has as much of it
 * as could be read. pen may be NULL. */
void sky_access_refused(struct sky_access_pen *pen, struct sky_counters *counters,
                        const h2o_req_t *req, int status, const char *reason);

#endif

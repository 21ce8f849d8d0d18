/* SPDX-License-Identifier: Apache-2.0 */
/* The trace of one request: ids, the headers towards the app, and the segment at the end.
 *
 * It has a memory pool of its own, since it may outlive the request while the helper's part is
 * awaited (stitch.h). Life: begin -> attempt (one or more) -> answer -> end; after sky_trace_end
 * the pointer is gone. Loop thread only. */
#ifndef SKY_PROXY_TRACE_TRACE_H
#define SKY_PROXY_TRACE_TRACE_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/worker.h"

struct sky_route_sampling;
struct sky_trace;

/* How a request ended, besides its status. */
struct sky_trace_outcome {
    int status;          /* sent to the client; 0 when none was */
    uint64_t body_bytes; /* of the answer, to the client */
    bool client_gone;    /* the client left before the answer was whole: no error */
    bool cut;            /* the answer did not end as it should: error */
    bool tunnel;         /* it became one: long, and no error for that */
    uint64_t tunnel_in_bytes, tunnel_out_bytes; /* from, to the client; after the heads */
    const char *failure; /* what failed, static text, as "connect timeout"; NULL when nothing */
};

/* sky_trace_begin: sampling is the route's, NULL for agent.sampling. NULL when the request is not
 * to be traced (ignored, or not sampled and nothing could keep it). Reads sw8, sw8-correlation and
 * sw8-x of trusted peers. */
struct sky_trace *sky_trace_begin(struct sky_worker *worker, h2o_req_t *req,
                                  struct sky_route_sampling *sampling);

/* sky_trace_attempt: fixes a fresh segment id for one attempt at `server` (whose text is what sw8
 * names as the address dialled; borrowed until the end) and returns the lines to write into the
 * request's head, each ended by CRLF: sw8, sw8-correlation, sw8-x, sw8-stitch. Valid until the next
 * attempt or the end. */
struct sky_text sky_trace_attempt(struct sky_trace *trace, const struct sky_address *server);

/* sky_trace_queued: the request has waited for a server with a place, since it was whole. */
void sky_trace_queued(struct sky_trace *trace);

/* sky_trace_sent, sky_trace_answered: the request's last byte was written; the first byte of the
 * answer was read. */
void sky_trace_sent(struct sky_trace *trace);
void sky_trace_answered(struct sky_trace *trace);

/* sky_trace_stitch: the value of the answer's sw8-stitch field and how many such fields there were;
 * called for every final answer of an upstream, with count 0 when there was none. */
void sky_trace_stitch(struct sky_trace *trace, struct sky_text value, size_t count);

/* sky_trace_stitch_data: the same for the field sw8-stitch-data (helpers without a channel, that
 * share a token). Called only when there is such a field. */
void sky_trace_stitch_data(struct sky_trace *trace, struct sky_text value, size_t count);

/* What a log line says of a trace; the texts are the trace's. */
struct sky_trace_names {
    struct sky_text trace_id, segment_id, operation;
};

/* sky_trace_names: the operation as far as it is known: the helper's route once there is an answer.
 */
void sky_trace_names(const struct sky_trace *trace, struct sky_trace_names *names);

/* sky_trace_end: the last byte is out, or the client has gone. The segment is packed now, or when
 * the helper's part has come. */
void sky_trace_end(struct sky_trace *trace, const struct sky_trace_outcome *outcome);

/* sky_trace_strips: whether a request field must not be passed on as it came: sw8-stitch*, and sw8,
 * sw8-correlation, sw8-x unless the request is untraced and its peer trusted. `name` in lower case.
 */
bool sky_trace_strips(const struct sky_config *config, const h2o_req_t *req,
                      const struct sky_trace *trace, struct sky_text name);

#endif

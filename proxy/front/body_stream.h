/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body that is handed on while it comes in (request_buffering: off).
 *
 * The handler reads; what it does not read stays with the client once 64 KiB are here, or in HTTP/2
 * a window's worth. Timeouts and limits are the front's: they make the reading fail. Loop thread
 * only. */
#ifndef SKY_PROXY_FRONT_BODY_STREAM_H
#define SKY_PROXY_FRONT_BODY_STREAM_H

#include <h2o.h>
#include <stdbool.h>

#include "proxy/front/http1_refusal.h"

/* What is known of the body before it is read. */
struct sky_body_stream {
    bool chunked;
    uint64_t length; /* when it is not chunked */
};

enum sky_stream_result {
    SKY_STREAM_WAIT,  /* nothing is here; on_readable will be called */
    SKY_STREAM_BYTES, /* some, with more to come */
    SKY_STREAM_END,   /* the last ones, maybe none */
    SKY_STREAM_FAILED /* sky_front_refusal says why; nothing may be read any more */
};

/* sky_front_streams: whether this request's body is one; fills in what is known. */
bool sky_front_streams(h2o_req_t *req, struct sky_body_stream *stream);

/* sky_front_on_readable: calls back(of) when there is something new to read, also a failure; not
 * from below another call of this header. */
void sky_front_on_readable(h2o_req_t *req, void (*back)(void *of), void *of);

/* sky_front_read: bytes of the body, without their framing, up to `room` of them into dst. */
enum sky_stream_result sky_front_read(h2o_req_t *req, char *dst, size_t room, size_t *got);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an upstream socket: writes it, reads the answer, takes the framing off the body.
 *
 * The owner pulls: `progress` tells that there is something new, sky_back_take hands over what has
 * come since the last call. What was handed over stays valid until the next take, so the body goes
 * from the kernel to h2o without a copy, and what an owner does not take is bounded: above 64 KiB
 * the socket is not read. Loop thread only.
 *
 *   SKY_BACK_HEAD      reads heads, interim ones first: then BODY or WHOLE, else FAILED
 *   SKY_BACK_BODY      reads the body: at its end WHOLE, else FAILED
 *   SKY_BACK_WHOLE     reads nothing: the socket is back in the pool, or closed
 *   SKY_BACK_FAILED    reads nothing: the socket is closed
 *   SKY_BACK_SWITCHED  reads nothing, after a 101 that the owner has agreed to: it detaches the
 *                      socket
 *
 * Whether the request is still being written is independent of it: apps answer early. */
#ifndef SKY_PROXY_BACK_HTTP1_BACK_H
#define SKY_PROXY_BACK_HTTP1_BACK_H

#include <h2o.h>

#include "proxy/back/http1_answer.h"
#include "proxy/back/upstream.h"
#include "proxy/exchange/failure.h"
#include "proxy/http/chunked.h"

/* Pieces of body handed over at once; more chunks than these are moved together. */
#define SKY_BACK_MAX_PIECES 8

enum sky_back_state {
    SKY_BACK_HEAD,
    SKY_BACK_BODY,
    SKY_BACK_WHOLE,
    SKY_BACK_FAILED,
    SKY_BACK_SWITCHED
};

struct sky_back;

struct sky_back_events {
    /* the request's last byte was written */
    void (*sent)(struct sky_back *back);
    /* an interim answer but 100 and 101; *answer is gone after the call */
    void (*informed)(struct sky_back *back, const struct sky_answer *answer);
    /* the final head; its texts are valid until sky_back_fini, *answer itself is not. The callee
     * neither takes nor cancels yet: progress follows. */
    void (*answered)(struct sky_back *back, const struct sky_answer *answer);
    /* bytes, the end or a failure have come. Last thing that the back does: it may be gone then. */
    void (*progress)(struct sky_back *back);
    /* a 101; false: nobody asked for it, and the back fails. As for answered, progress follows.
     * NULL: never asked for */
    bool (*switched)(struct sky_back *back, const struct sky_answer *answer);
    /* what sky_back_write was given is written, and it was not the last: more may be. NULL: the
     * body is whole from the start on */
    void (*wrote)(struct sky_back *back);
};

/* A part of the body: pieces in one buffer. */
struct sky_back_part {
    h2o_buffer_t *buffer; /* NULL: none, or the pieces lie in the head's */
    h2o_iovec_t pieces[SKY_BACK_MAX_PIECES];
    size_t count;
    size_t bytes;
};

/* Embedded in the owner; zeroed before sky_back_start. Read by the owner: the first five;
 * the rest is http1_back.c's. */
struct sky_back {
    enum sky_back_state state;
    enum sky_failure failure; /* of SKY_BACK_FAILED */
    bool unanswered;          /* no byte of an answer has come */
    bool unwritten;           /* the server got no byte of the request: its end was closed */
    const char *defect;       /* of SKY_FAILURE_MALFORMED, static; else NULL */

    const struct sky_back_events *events;
    struct sky_upstream_conn *conn; /* NULL in WHOLE and FAILED */
    h2o_timeout_entry_t timer;      /* timeouts.response */
    bool head_request;
    bool writing;  /* h2o_socket_write is under way */
    bool broken;   /* a write failed */
    bool unusable; /* a write failed, or the answer says so: not to the pool */
    bool paused;   /* reading is stopped until the next take */
    unsigned interim_count;
    bool body_ended;       /* of a body in parts: the last one was given */
    h2o_iovec_t unsent[2]; /* rest of head, rest of body */
    size_t sending_bytes;  /* of unsent, under way */

    struct sky_answer_scan scan;
    h2o_buffer_t *head;  /* the heads, and what of the body came with the last one */
    size_t switch_bytes; /* of SKY_BACK_SWITCHED: the last head's length */
    enum sky_answer_framing framing;
    uint64_t left; /* SKY_ANSWER_LENGTH: bytes to come */
    struct sky_chunked chunked;
    struct sky_back_part filling, taken;
};

/* sky_back_start: takes the connection over and writes the request at once; `head` is copied to the
 * pool if the kernel does not take it whole, `body` is borrowed until the back is done. No event is
 * sent before this returns but `sent`. */
void sky_back_start(struct sky_back *back, const struct sky_back_events *events,
                    struct sky_upstream_conn *conn, h2o_mem_pool_t *pool, struct sky_text head,
                    h2o_iovec_t body, bool head_request);

/* sky_back_takes_body: of a request whose body comes in parts: whether the next one may be given.
 */
bool sky_back_takes_body(const struct sky_back *back);

/* sky_back_write: the next part, framed, borrowed until `wrote` or, when it is the last, `sent`;
 * neither is called from in here. */
void sky_back_write(struct sky_back *back, h2o_iovec_t part, bool last);

/* sky_back_hold_clock: the next part is waited for: that is not the app's time. */
void sky_back_hold_clock(struct sky_back *back);

/* sky_back_take: what has come of the body and was not taken yet, maybe nothing. Frees what was
 * taken before and lets reading go on. */
const struct sky_back_part *sky_back_take(struct sky_back *back);

/* sky_back_detach: of SKY_BACK_SWITCHED: the connection is the caller's from now on. *early: what
 * has come behind the 101; valid until sky_back_fini. */
struct sky_upstream_conn *sky_back_detach(struct sky_back *back, struct sky_text *early);

/* sky_back_cancel: closes the connection, if there still is one; no event comes any more. What was
 * handed over stays valid. */
void sky_back_cancel(struct sky_back *back);

/* sky_back_fini: cancels and frees the buffers. Harmless on a zeroed back. */
void sky_back_fini(struct sky_back *back);

/* sky_back_free_recycled: gives back the body buffers that the calling thread keeps for reuse; when
 * it ends. */
void sky_back_free_recycled(void);

#endif

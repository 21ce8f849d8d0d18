/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the front: HTTP/2 on a client connection. nghttp2 has frames, HPACK, windows, states of
 * streams and what RFC 9113, 8 asks of messages; this has everything around: bytes in and out,
 * limits, timers, bodies, requests and answers of h2o.
 *
 * Not libh2o's own HTTP/2: its last release knows no defence against resets (CVE-2023-44487), gives
 * each stream a fixed window of 16 MB that is buffered in memory whatever the route allows, merges
 * trailers into the head, has no timer for a client that takes nothing, and tells nobody when the
 * last byte of an answer is out.
 *
 * http2_session.c: the connection's life, bytes in and out. http2_stream.c: from frames to a
 * running request. http2_upload.c: bodies that are not buffered. http2_head.c: what its head says.
 * http2_response.c: from h2o_send to frames.
 *
 *             head whole      body whole        handler      END_STREAM out   bytes out
 *      HEAD ------------> BODY --------> READY --------> RUNNING -----> WHOLE -----> (freed)
 *        |    no body                      ^
 *        +---------------------------------+
 *
 * A stream that is reset, by whom ever, is freed at once, in any state but WHOLE. Handlers run
 * after a read, never below nghttp2: what was reset in the same read never reaches them. */
#ifndef SKY_PROXY_FRONT_HTTP2_H
#define SKY_PROXY_FRONT_HTTP2_H

#include <h2o.h>
#include <nghttp2/nghttp2.h>

#include "proxy/front/body_buffer.h"
#include "proxy/front/body_stream.h"
#include "proxy/front/http1_conn.h"

/* What is the same for all connections of a loop. */
struct sky_h2_settings {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    h2o_mem_recycle_t streams; /* freed ones: too large for the fast part of malloc */
    h2o_mem_recycle_t outs;
    uint32_t max_streams; /* at a time */
    uint32_t max_resets;  /* within SKY_H2_RESET_WINDOW_MS */
};

/* Of a request's body that a client may send ahead of who reads it. What is buffered is read at
 * once, so this bounds not memory but how far a client on a long line is slowed down. */
#define SKY_H2_STREAM_WINDOW_BYTES 262144

/* Resets are counted in windows of this length. */
#define SKY_H2_RESET_WINDOW_MS 10000

/* Frames are made until there are so many bytes: two full TLS records. */
#define SKY_H2_OUT_BYTES 32768

/* What nghttp2 hands over at once: a frame, or a part of a head. */
#define SKY_H2_FRAME_BYTES (16384 + 512)

/* Framed, not yet taken by the kernel. */
struct sky_h2_out {
    size_t size, first; /* what stands before `first` is gone */
    char bytes[SKY_H2_OUT_BYTES + SKY_H2_FRAME_BYTES];
};

struct sky_h2 {
    struct sky_conn *conn;
    nghttp2_session *session;
    h2o_linklist_t streams; /* all that nghttp2 has open, and those of `ended` */
    size_t stream_count;
    /* what is to be done outside of nghttp2's callbacks; by sky_h2_stream.due */
    h2o_linklist_t ready;    /* to their handlers */
    h2o_linklist_t drained;  /* once all bytes are out: their generators are asked for more */
    h2o_linklist_t readable; /* by sky_h2_upload.readable: whose handlers are told */
    h2o_linklist_t ended;    /* once all bytes are out: they are freed */
    struct sky_h2_out *out;  /* NULL: nothing */
    h2o_timeout_entry_t drain_timer;  /* between the two GOAWAY of a stop */
    int32_t newest_id;                /* of a HEADERS frame; -1: none yet */
    int32_t skipped_from, skipped_to; /* identifiers that the client has left out last */
    uint64_t resets_since_ms;         /* loop time */
    uint32_t resets;
    bool notice_due; /* of the stop: the first of the two */
    bool much;       /* came with the last read: the next one asks for more */
    bool given_up;   /* what the client still sends is of no interest */
    bool attacked;   /* nor whether it sees why */
};

enum sky_h2_state { SKY_H2_HEAD, SKY_H2_BODY, SKY_H2_READY, SKY_H2_RUNNING, SKY_H2_WHOLE };

/* A body that is handed on while it comes in. */
struct sky_h2_upload {
    bool open;           /* the request has one */
    bool ended;          /* by the client */
    h2o_buffer_t *input; /* not yet read; NULL: nothing ever came */
    uint64_t received_bytes, waiting_since_ms, waited_ms; /* for the client */
    h2o_timeout_entry_t timer;                            /* while it is waited for */
    h2o_linklist_t readable;                              /* of h2->readable */
    void (*on_readable)(void *of);
    void *of;
};

struct sky_h2_stream {
    struct sky_h2 *h2;
    int32_t id;
    enum sky_h2_state state;
    h2o_linklist_t link;       /* of h2->streams */
    h2o_linklist_t due;        /* of one of h2's lists */
    h2o_timeout_entry_t timer; /* of the head, the body, or what the client does not take */

    enum sky_refusal refusal; /* of the head until it is whole, then of the body */
    bool head_refused;        /* no handler sees it */
    bool has_length, expects_continue;
    bool client_reset; /* the client has no use for it any more */
    size_t head_bytes, field_count;
    uint64_t content_length, body_began_ms; /* loop time */
    struct sky_text host;                   /* the field */
    H2O_VECTOR(h2o_iovec_t) cookies;        /* crumbs of RFC 9113, 8.2.3; in the request's pool */
    struct sky_body_buffer body;
    struct sky_body_policy policy; /* once policy_asked */
    bool policy_asked;
    struct sky_h2_upload upload;

    bool head_made, bodiless, has_left;
    bool final;                           /* of the answer: no piece follows those that are here */
    bool cut;                             /* of the answer: it cannot be completed */
    uint64_t left;                        /* of the length that the answer has told */
    H2O_VECTOR(h2o_iovec_t) pieces;       /* of the answer; what they point to is the generator's */
    size_t piece_first, piece_bytes;      /* not yet framed */
    uint64_t framed_bytes, framed_before; /* before: when last asked */
    h2o_ostream_t ostream;
    h2o_req_t req; /* last: large, with an initialiser of its own */
};

/* ---- http2_session.c ---- */

struct sky_h2_settings *sky_h2_settings_new(void);

/* sky_h2_settings_change: for connections that begin from now on; max_resets for all. Before the
 * first use. */
void sky_h2_settings_change(struct sky_h2_settings *settings, const struct sky_config *config);
void sky_h2_settings_destroy(struct sky_h2_settings *settings);

/* sky_h2_begin: from now on the connection speaks HTTP/2, with what its input holds already; conn
 * may be gone afterwards. */
void sky_h2_begin(struct sky_conn *conn);

/* sky_h2_input: what the client has sent; conn may be gone afterwards. */
void sky_h2_input(struct sky_h2 *h2, struct sky_text bytes);

/* sky_h2_drain: the client is told to take its next requests elsewhere; conn may be gone
 * afterwards. */
void sky_h2_drain(struct sky_h2 *h2);

/* sky_h2_dismiss: an idle connection ends at once, after a GOAWAY as far as the socket takes it. */
void sky_h2_dismiss(struct sky_h2 *h2);

/* sky_h2_destroy: frees the streams, whose generators are stopped, and all of HTTP/2. */
void sky_h2_destroy(struct sky_h2 *h2);

/* sky_h2_lost: the client is gone: counts what was under way. */
void sky_h2_lost(struct sky_h2 *h2);

/* sky_h2_put: makes `len` bytes the last of what goes out, to be filled in by the caller. NULL:
 * enough is there that has to be sent first. */
char *sky_h2_put(struct sky_h2 *h2, size_t len);

/* sky_h2_run: what is due by now: requests go to their handlers, bytes to the client; conn may be
 * gone afterwards. Never below nghttp2 or a handler. */
void sky_h2_run(struct sky_h2 *h2);

/* sky_h2_run_soon: the same from the loop, or by who runs already. */
void sky_h2_run_soon(struct sky_h2 *h2);

/* sky_h2_give_up: counts it and logs why; GOAWAY, and the connection ends once that is out. */
void sky_h2_give_up(struct sky_h2 *h2, uint32_t error, enum sky_counter counter, const char *why);

/* sky_h2_ended: a GOAWAY that is an error is on its way; counts it if it is nghttp2's. */
void sky_h2_ended(struct sky_h2 *h2);

/* sky_h2_note_reset: a stream ended early by the client's doing; too many of them end the
 * connection. */
void sky_h2_note_reset(struct sky_h2 *h2);

/* ---- http2_stream.c ---- */

/* sky_h2_set_input_callbacks: those of incoming frames; output: of outgoing ones. */
void sky_h2_set_input_callbacks(nghttp2_session_callbacks *callbacks);

/* sky_h2_dispatch: hands a stream of `ready` to its handler, or answers it by its refusal. */
void sky_h2_dispatch(struct sky_h2_stream *stream);

void sky_h2_stream_destroy(struct sky_h2_stream *stream);

/* sky_h2_note_refusal: counts and logs stream->refusal. */
void sky_h2_note_refusal(struct sky_h2_stream *stream);

/* sky_h2_stream_of: the stream of a request, NULL when it is not one of HTTP/2. */
struct sky_h2_stream *sky_h2_stream_of(h2o_req_t *req);

/* sky_h2_not_due: takes it off the list that it is on, if any. */
void sky_h2_not_due(struct sky_h2_stream *stream);

void sky_h2_set_timer(struct sky_h2_stream *stream, h2o_timeout_t *list, h2o_timeout_cb on_timeout);

/* ---- http2_upload.c ---- */

/* sky_h2_begin_upload: false when there is no budget for it. */
bool sky_h2_begin_upload(struct sky_h2_stream *stream);

/* sky_h2_end_upload: with its stream, also of one that has none. */
void sky_h2_end_upload(struct sky_h2_stream *stream);

void sky_h2_upload_arrived(struct sky_h2_stream *stream, struct sky_text bytes);
void sky_h2_upload_ended(struct sky_h2_stream *stream);

/* sky_h2_tell_readers: those that have something new to read. Not below nghttp2. */
void sky_h2_tell_readers(struct sky_h2 *h2);

/* sky_h2_read: as sky_front_read. */
enum sky_stream_result sky_h2_read(struct sky_h2_stream *stream, char *dst, size_t room,
                                   size_t *got);

/* ---- http2_head.c ---- */

/* sky_h2_take_field: of a head, pseudo or not; sets stream->refusal when it is not to be taken. */
void sky_h2_take_field(struct sky_h2_stream *stream, struct sky_text name, struct sky_text value);

/* sky_h2_check_head: everything is there: fills in what the request says, or sets
 * stream->refusal. */
void sky_h2_check_head(struct sky_h2_stream *stream);

/* ---- http2_response.c ---- */

void sky_h2_set_output_callbacks(nghttp2_session_callbacks *callbacks);

/* sky_h2_start_output: makes the stream the end of the request's output. */
void sky_h2_start_output(struct sky_h2_stream *stream);

/* sky_h2_inform: an interim answer; fields are copied. */
void sky_h2_inform(struct sky_h2_stream *stream, int status, const h2o_header_t *fields,
                   size_t field_count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of http1_front: one client connection. Private to http1_front.c (all connections of
 * a loop), http1_conn.c (the connection's life), http1_greeting.c (whose it is, by the PROXY
 * protocol), http1_input.c (when bytes are read), http1_io.c (how bytes move), http1_request.c
 * (from bytes to a running request), http1_stream.c (bodies that it is handed while they come in),
 * http1_half_close.c (a client that sends no more), http1_response.c (from h2o_send to framed
 * bytes), http1_output.c (from those to the socket), http1_switch.c (from a request to a tunnel)
 * and the files of HTTP/2 (http2.h).
 *
 *              head whole, no body
 *        +-------------------------------+
 *        |                               v
 *      IDLE --> HEAD --> BODY -----> RUNNING --> LINGER --> (closed)
 *        ^        |                    |  |
 *        |        +---- refused -------^  |
 *        +--------------------------------+
 *              answer out, keep-alive
 *
 * With TLS a state HANDSHAKE stands before IDLE, and with the PROXY protocol GREETING before
 * both. A request that switches to another protocol goes
 * from RUNNING to TUNNEL and stays there: the tunnel has the socket, and the request lasts as long
 * as it.
 *
 * A connection whose client has chosen HTTP/2 is HTTP2 from its first request on (http2.h), and
 * uses none of what belongs to one request here.
 *
 * RUNNING: a handler has the request, or an answer of the front's own is on its way; reading goes
 * on all the while. Any state can end in a close. */
#ifndef SKY_PROXY_FRONT_HTTP1_CONN_H
#define SKY_PROXY_FRONT_HTTP1_CONN_H

#include <h2o.h>
#include <stdatomic.h>

#include "proxy/front/body_buffer.h"
#include "proxy/front/door.h"
#include "proxy/front/http1_front.h"
#include "proxy/front/http1_head.h"
#include "proxy/http/chunked.h"

/* Bytes behind the request under way that are read ahead; then reading pauses, and with it the
 * watch for the client's going away. */
#define SKY_CONN_READ_AHEAD 65536

struct sky_front {
    h2o_context_t *ctx;
    h2o_hostconf_t **hosts;
    struct sky_counters *counters, own_counters; /* own: when the caller gave none */
    struct sky_access_pen *access_pen;           /* NULL: none */
    struct sky_head_limits limits;
    struct sky_body_settings body;
    const struct sky_trust *trust;   /* forwarded.trust */
    uint64_t body_rate, answer_rate; /* bytes a second, 0: any */
    /* one list a duration */
    h2o_timeout_t handshake_timeout, idle_timeout, head_timeout, body_timeout, write_timeout,
        linger_timeout, drain_timeout;
    h2o_linklist_t conns;
    _Atomic size_t conn_count;
    bool draining;
    struct sky_h2_settings *h2;
    struct sky_body_policy (*body_policy)(h2o_req_t *req); /* NULL: buffered, the limit of body */
    struct sky_head_field *fields;                         /* where heads are parsed to */
    size_t field_capacity; /* limits.field_count, or what that was before a reload */
};

enum sky_conn_state {
    SKY_CONN_GREETING,  /* of the PROXY protocol; then HANDSHAKE or IDLE */
    SKY_CONN_HANDSHAKE, /* of TLS; then IDLE */
    SKY_CONN_IDLE,      /* no byte of a request */
    SKY_CONN_HEAD,      /* a part of a head */
    SKY_CONN_BODY,      /* the body is coming in */
    SKY_CONN_RUNNING,
    SKY_CONN_TUNNEL, /* the socket is the tunnel's */
    SKY_CONN_HTTP2,  /* conn->h2 has all that follows the handshake */
    SKY_CONN_LINGER  /* our side is shut; what still comes is read and dropped */
};

/* What happens once all output has been taken by the kernel. */
enum sky_conn_then {
    SKY_THEN_NOTHING, /* output of our own (1xx), or none */
    SKY_THEN_PROCEED, /* the generator is asked for more */
    SKY_THEN_FINISH,  /* the answer is complete */
    SKY_THEN_CUT      /* the answer cannot be completed: close, so that the client sees it */
};

struct sky_answer_file;
struct sky_conn;

/* How bytes move; each as the system call, -1 and errno when it fails. */
struct sky_conn_io {
    ssize_t (*receive)(struct sky_conn *conn, char *bytes, size_t size); /* recv(2) */
    /* sendmsg(2); more: the next bytes follow at once */
    ssize_t (*send)(struct sky_conn *conn, h2o_iovec_t *bufs, size_t count, bool more);
    /* sendfile(2) of what is left; NULL: there is no such way */
    ssize_t (*send_file)(struct sky_conn *conn, const struct sky_answer_file *file);
    void (*shut)(struct sky_conn *conn);           /* shutdown(2) of our side */
    int64_t (*handed_over)(struct sky_conn *conn); /* bytes to the kernel, as SIOCOUTQ counts */
};

/* A body that is handed on while it comes in. */
struct sky_conn_stream {
    bool open;   /* the request has one */
    bool unread; /* its end has not been read */
    uint64_t received_bytes, limit_bytes;
    uint64_t waiting_since_ms, waited_ms; /* for the client */
    void (*on_readable)(void *of);
    void *of;
};

struct sky_conn {
    h2o_conn_t super; /* first: h2o_conn_t is what h2o knows of a connection */
    struct sky_front *front;
    h2o_socket_t *sock;
    const struct sky_conn_io *io;
    struct sky_door *door;            /* held; NULL: of no interest */
    SSL *ssl;                         /* the socket's; NULL: plain, or no ClientHello yet */
    SSL_CTX *shaking;                 /* held: libh2o makes its SSL of it with the first bytes */
    h2o_linklist_t link;              /* of front->conns */
    h2o_timeout_entry_t timer;        /* the state's, on one of the front's lists */
    h2o_timeout_entry_t stream_timer; /* the client is waited for, of stream; or is watched */
    h2o_timeout_entry_t settler;      /* runs sky_conn_settle from the loop */
    h2o_timeout_entry_t reader; /* reads once more: the rest is in conn->ssl, not in the socket */
    struct sky_conn_greeting *greeting; /* heap; NULL: there is none, or it is over */
    enum sky_conn_state state;
    struct timeval
        read_at; /* of the last bytes read while neither a head nor a body was coming in */
    uint64_t linger_until_ms; /* loop time */
    int64_t taken_bytes;      /* by the client, when last asked */
    bool dispatching;         /* a handler runs below us: settle after it */
    bool client_closes;       /* it asked for no more than this answer */
    bool half_closed;         /* it sends no more */
    bool reading_paused;
    bool may_be_h2c;     /* its first bytes decide */
    bool record_follows; /* of TLS, behind the one that is being sent */
    struct sky_h2 *h2;   /* NULL: HTTP/1 */

    /* all that follows is cleared for each request */
    struct sky_head_scan scan;
    bool chunked;
    uint64_t body_left;     /* of a body with Content-Length */
    uint64_t body_began_ms; /* loop time */
    struct sky_chunked decoder;
    struct sky_body_buffer body;
    struct sky_body_policy policy; /* once policy_asked */
    bool policy_asked;
    struct sky_conn_stream stream;
    enum sky_refusal refusal; /* of the body */
    struct sky_text upgrade;  /* protocols that the request asks for; empty: none */
    struct sky_tunnel *tunnel;
    unsigned looks;  /* after a client that has shut its side */
    bool must_close; /* the input cannot be trusted, or is not wanted, any more */
    struct {
        enum sky_conn_then then;
        bool settle_due;
        bool head_made;
        bool bodiless; /* HEAD, 204, 304: none whatever the generator sends */
        bool chunked;
        bool to_the_end; /* ends with the connection (HTTP/1.0) */
        bool has_length;
        uint64_t left; /* of has_length */
        char chunk_line[24];
        H2O_VECTOR(h2o_iovec_t) output;      /* in the request's pool */
        size_t output_first;                 /* entries before it are out */
        struct sky_answer_file *file;        /* behind the output; NULL: none */
        size_t burst_bytes;                  /* since the loop was last asked */
        uint64_t written_bytes, taken_bytes; /* by the kernel; by the client when last asked */
    } response;
    h2o_ostream_t ostream;
    h2o_req_t req; /* last: large, with an initialiser of its own */
};

/* ---- http1_conn.c ---- */

/* sky_conn_new: takes over an accepted socket. */
struct sky_conn *sky_conn_new(struct sky_front *front, h2o_socket_t *sock);

/* sky_conn_of: the connection of a request, NULL when it is not one of ours. */
struct sky_conn *sky_conn_of(const h2o_req_t *req);

void sky_conn_count(struct sky_conn *conn, enum sky_counter counter);

/* sky_conn_set_timer: in place of the one that was set. */
void sky_conn_set_timer(struct sky_conn *conn, h2o_timeout_t *list, h2o_timeout_cb on_timeout);
void sky_conn_on_head_timeout(h2o_timeout_entry_t *entry);
void sky_conn_on_body_timeout(h2o_timeout_entry_t *entry);
void sky_conn_on_write_timeout(h2o_timeout_entry_t *entry);

/* sky_conn_close: the request, if any, is disposed of (its generator stopped), then conn is gone.
 * Never from below a handler: it still uses what it has in the request's pool. */
void sky_conn_close(struct sky_conn *conn);

/* sky_conn_reset: close by RST, for what must not look like an end. */
void sky_conn_reset(struct sky_conn *conn);

/* sky_conn_welcome: the TLS handshake of its door, or sky_conn_begin. */
void sky_conn_welcome(struct sky_conn *conn);

/* sky_conn_begin: waits for the first request; conn may be gone afterwards. */
void sky_conn_begin(struct sky_conn *conn);

/* sky_conn_peer: the client's address for a log line. */
const char *sky_conn_peer(struct sky_conn *conn, char host[NI_MAXHOST]);

/* sky_conn_finish: the answer is out. True: the next request may be read; false: conn lingers, or
 * is gone. */
bool sky_conn_finish(struct sky_conn *conn);

/* sky_conn_linger: everything is said: our side is shut, and the client's last bytes are waited
 * for. */
void sky_conn_linger(struct sky_conn *conn);

/* sky_conn_wait_idle, sky_conn_wait_for_silence: sets the timer of IDLE, of LINGER; shorter ones
 * while the front drains. */
void sky_conn_wait_idle(struct sky_conn *conn);
void sky_conn_wait_for_silence(struct sky_conn *conn);

/* ---- http1_input.c ---- */

/* sky_conn_start_reading: once, after the handshake; conn may be gone afterwards. */
void sky_conn_start_reading(struct sky_conn *conn);
void sky_conn_resume_reading(struct sky_conn *conn);

/* sky_conn_read_rest_soon: what OpenSSL has taken from the socket, and we not from it, gives no
 * event of the socket. */
void sky_conn_read_rest_soon(struct sky_conn *conn);
void sky_conn_on_rest(h2o_timeout_entry_t *entry);

/* ---- http1_io.c ---- */

extern const struct sky_conn_io sky_conn_plain;

/* sky_conn_shake_hands: of TLS; conn->io is that of TLS afterwards, and conn begins. */
void sky_conn_shake_hands(struct sky_conn *conn, SSL_CTX *ctx);

/* ---- http1_request.c ---- */

/* sky_conn_advance: makes of the input what can be made of it; conn may be gone afterwards. */
void sky_conn_advance(struct sky_conn *conn);

/* sky_conn_refuse_head: answers with a refusal and closes; conn may be gone afterwards. */
void sky_conn_refuse_head(struct sky_conn *conn, enum sky_refusal refusal);

/* sky_conn_refusal_of_body: logs what has to be said of a body that could not be buffered. */
enum sky_refusal sky_conn_refusal_of_body(struct sky_conn *conn, enum sky_body_result result);

/* sky_conn_too_slow: whether a body that began then (loop time) comes below limits.body_rate. */
bool sky_conn_too_slow(const struct sky_front *front, const struct sky_body_buffer *body,
                       size_t more_bytes, uint64_t began_ms);

/* sky_conn_allow_methods: the field Allow of a 405. */
void sky_conn_allow_methods(h2o_req_t *req);

/* sky_conn_refuse_body: hands the request to its handler without a body, to be answered with the
 * refusal; conn may be gone afterwards. */
void sky_conn_refuse_body(struct sky_conn *conn, enum sky_refusal refusal);

/* ---- http1_greeting.c ---- */

/* sky_conn_greet: reads who the client is, then welcomes it; conn may be gone afterwards. */
void sky_conn_greet(struct sky_conn *conn);

/* ---- http1_half_close.c ---- */

/* sky_conn_half_close: the client sends no more. True: it is to have the answer nevertheless, and
 * is watched for its going away; the socket must not be read any more. */
bool sky_conn_half_close(struct sky_conn *conn);

/* sky_conn_watch: the same for a request that has come with the one before. */
void sky_conn_watch(struct sky_conn *conn);

/* sky_conn_is_last: whether no request can follow the one that runs. */
static inline bool sky_conn_is_last(const struct sky_conn *conn)
{
    return conn->half_closed && (conn->ssl != NULL || conn->sock->input->size == 0);
}

/* ---- http1_stream.c ---- */

/* sky_conn_begin_stream: of a body whose head was read; false when there is no budget for it. */
bool sky_conn_begin_stream(struct sky_conn *conn);

/* sky_conn_stream_arrived: bytes of it have been read; the last thing that is done with conn. */
void sky_conn_stream_arrived(struct sky_conn *conn);

/* sky_conn_end_stream: with its request, also of one that has none. */
void sky_conn_end_stream(struct sky_conn *conn);

/* ---- http1_response.c ---- */

/* sky_conn_start_output: makes the connection the end of the request's output. */
void sky_conn_start_output(struct sky_conn *conn);

/* sky_conn_switch_head: a 101 with the fields of req.res that switches to `protocol`; in the
 * request's pool. */
h2o_iovec_t sky_conn_switch_head(struct sky_conn *conn, struct sky_text protocol);

/* sky_conn_hsts: the field that this connection's answers bear; NULL: it is no place for it, or it
 * is left to the app. */
const char *sky_conn_hsts(const struct sky_conn *conn);

/* sky_conn_count_response: by the class of its status. */
void sky_conn_count_response(struct sky_conn *conn, int status);

/* sky_conn_count_body: bytes of the answer's body that go out. */
void sky_conn_count_body(struct sky_conn *conn, uint64_t bytes);

/* ---- http1_output.c ---- */

/* sky_conn_push: the next bytes to be sent; they stay valid until the output is settled. */
void sky_conn_push(struct sky_conn *conn, h2o_iovec_t bytes);

/* sky_conn_flush: sends what the socket takes. */
void sky_conn_flush(struct sky_conn *conn);

/* sky_conn_write: both, of bytes of our own ahead of the answer; they are static or in the
 * request's pool. */
void sky_conn_write(struct sky_conn *conn, h2o_iovec_t bytes);

/* sky_conn_settle: does what is due after output (response.then). True: the next request may be
 * read; false: a request runs, or conn lingers, or is gone. */
bool sky_conn_settle(struct sky_conn *conn);

#endif

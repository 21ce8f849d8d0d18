/* SPDX-License-Identifier: Apache-2.0 */
/* One request on an upstream socket.
 *
 * Happy path: start writes head and body in one call -> readable: one recv brings head and body ->
 *   socket to the pool -> progress. Two system calls.
 * Otherwise:
 *   the kernel takes less          the rest goes by h2o_socket_write, 256 KiB a time
 *   the write fails                the answer may have come all the same: reading decides
 *   answer before the last byte    it passes; the socket is closed after it
 *   closed before a head           FAILED, CLOSED
 *   closed within the body         FAILED, CUT; if that is the body's end (SKY_ANSWER_CLOSE) WHOLE
 *   no byte for timeouts.response  FAILED, RESPONSE_TIMEOUT; the clock stands while paused
 *   head or chunks not sound       FAILED, MALFORMED; 101 unasked FAILED, SWITCHED
 *   bytes after the answer         it passes; the socket is closed
 *   owner takes nothing            above 64 KiB reading stops until it does */
#include "proxy/back/http1_back.h"
#include "proxy/back/back_tls.h"
#include "proxy/back/recycle.h"

#include <assert.h>
#include <errno.h>

/* Room for one read of a body, and what an owner may leave lying. */
#define BODY_BUFFER_BYTES (64 * 1024)

/* Room for one read of a head, at least. */
#define HEAD_ROOM_BYTES 4096

/* Below this much room a body's buffer counts as full. */
#define BODY_ROOM_MIN_BYTES 4096

/* A long body's write reports back after so many bytes, which restarts the clock. */
#define WRITE_PIECE_BYTES (256 * 1024)

#define MAX_INTERIM 32

/* Sixteen of them are kept per thread. Never in a file: they do not grow. */
static __thread h2o_buffer_prototype_t body_prototype = {
    .allocator = {.max = 16}, ._initial_buf = {.capacity = BODY_BUFFER_BYTES}};

void sky_back_free_recycled(void)
{
    sky_recycle_free(&body_prototype.allocator);
}

static h2o_loop_t *loop_of(const struct sky_back *back)
{
    return back->conn->server->upstream->ctx->loop;
}

static void restart_clock(struct sky_back *back)
{
    h2o_timeout_unlink(&back->timer);
    h2o_timeout_link(loop_of(back), back->conn->response, &back->timer);
}

/* Ends the use of the connection. */
static void leave_conn(struct sky_back *back, bool reusable)
{
    struct sky_upstream_conn *conn = back->conn;

    h2o_timeout_unlink(&back->timer);
    back->conn = NULL;
    if (reusable)
        sky_upstream_give_back(conn);
    else
        sky_upstream_close(conn);
}

static void fail(struct sky_back *back, enum sky_failure failure)
{
    back->state = SKY_BACK_FAILED;
    back->failure = failure;
    leave_conn(back, false);
}

static void on_clock(h2o_timeout_entry_t *entry)
{
    struct sky_back *back = H2O_STRUCT_FROM_MEMBER(struct sky_back, timer, entry);

    fail(back, SKY_FAILURE_RESPONSE_TIMEOUT);
    back->events->progress(back);
}

/* --- writing --- */

static void write_more(struct sky_back *back);

static bool body_follows(const struct sky_back *back)
{
    return back->events->wrote != NULL && !back->body_ended;
}

static void on_written(h2o_socket_t *sock, const char *err)
{
    struct sky_back *back = ((struct sky_upstream_conn *)sock->data)->owner;

    back->writing = false;
    if (err != NULL) {
        back->broken = back->unusable = true;
        return; /* the event that the socket is closed, or an early answer, is on its way */
    }
    if (!back->paused)
        restart_clock(back);
    sky_back_skip(back->unsent, back->sending_bytes);
    if (back->unsent[0].len + back->unsent[1].len != 0)
        write_more(back);
    else if (body_follows(back))
        back->events->wrote(back);
    else
        back->events->sent(back);
}

/* As h2o_socket_write, and its end. */
static void on_tls_writable(h2o_socket_t *sock, const char *err)
{
    struct sky_upstream_conn *conn = sock->data;
    struct sky_back *back = conn->owner;
    ssize_t sent = err == NULL ? sky_back_tls_send_all(conn, back->unsent, WRITE_PIECE_BYTES) : -1;

    if (sent == -1 && err == NULL && errno == EAGAIN) {
        h2o_socket_notify_write(sock, on_tls_writable);
        return;
    }
    back->sending_bytes = sent > 0 ? (size_t)sent : 0;
    on_written(sock, sent > 0 ? NULL : h2o_socket_error_io);
}

static void write_more(struct sky_back *back)
{
    h2o_iovec_t bufs[2];
    size_t count = 0, room = WRITE_PIECE_BYTES;

    back->writing = true;
    if (back->conn->ssl != NULL) {
        h2o_socket_notify_write(back->conn->sock, on_tls_writable);
        return;
    }
    for (int i = 0; i < 2; ++i) {
        size_t len = back->unsent[i].len < room ? back->unsent[i].len : room;
        if (len != 0)
            bufs[count++] = h2o_iovec_init(back->unsent[i].base, len);
        room -= len;
    }
    back->sending_bytes = WRITE_PIECE_BYTES - room;
    h2o_socket_write(back->conn->sock, bufs, count, on_written);
}

/* One system call, or one record. */
static ssize_t write_once(const struct sky_back *back, h2o_iovec_t bufs[2])
{
    struct msghdr message = {.msg_iov = (struct iovec *)bufs, .msg_iovlen = 2};
    int fd = h2o_socket_get_fd(back->conn->sock);
    ssize_t written;

    if (back->conn->ssl != NULL)
        return sky_back_tls_send(back->conn, bufs, 2);
    do
        written = bufs[1].len != 0 ? sendmsg(fd, &message, MSG_NOSIGNAL)
                                   : send(fd, bufs[0].base, bufs[0].len, MSG_NOSIGNAL);
    while (written == -1 && errno == EINTR);
    return written;
}

/* What the first call does not take is left to the loop. */
static void write_now(struct sky_back *back, h2o_mem_pool_t *pool, struct sky_text head,
                      h2o_iovec_t body)
{
    h2o_iovec_t bufs[2] = {h2o_iovec_init(head.base, head.len), body};
    ssize_t written = write_once(back, bufs);

    if (written == -1 && errno != EAGAIN) {
        back->unwritten = back->broken = back->unusable = true;
        return;
    }
    size_t done = written > 0 ? (size_t)written : 0;
    if (done == head.len + body.len) {
        if (!body_follows(back))
            back->events->sent(back);
        return;
    }
    if (done < head.len) {
        back->unsent[0] = h2o_strdup(pool, head.base + done, head.len - done);
        back->unsent[1] = body;
    } else {
        done -= head.len;
        back->unsent[1] = h2o_iovec_init(body.base + done, body.len - done);
    }
    write_more(back);
}

bool sky_back_takes_body(const struct sky_back *back)
{
    return back->conn != NULL && !back->writing && !back->broken && body_follows(back);
}

void sky_back_write(struct sky_back *back, h2o_iovec_t part, bool last)
{
    back->body_ended = last;
    back->unsent[1] = part;
    if (!back->paused)
        restart_clock(back);
    write_more(back);
}

void sky_back_hold_clock(struct sky_back *back)
{
    h2o_timeout_unlink(&back->timer);
}

/* --- body --- */

static void add_piece(struct sky_back_part *part, struct sky_text piece)
{
    h2o_iovec_t *last = part->count != 0 ? &part->pieces[part->count - 1] : NULL;
    /* The last slot is for the body's own buffer: pieces are moved within one buffer only. */
    size_t max = part->buffer != NULL ? SKY_BACK_MAX_PIECES : SKY_BACK_MAX_PIECES - 1;

    part->bytes += piece.len;
    if (last != NULL && last->base + last->len == piece.base) {
        last->len += piece.len;
    } else if (part->count == max) {
        memmove(last->base + last->len, piece.base, piece.len);
        last->len += piece.len;
    } else {
        part->pieces[part->count++] = h2o_iovec_init(piece.base, piece.len);
    }
}

static bool is_unsent(const struct sky_back *back)
{
    return back->writing || back->unsent[0].len + back->unsent[1].len != 0 || body_follows(back);
}

/* The answer has ended; `extra` bytes of what was read lie behind it. */
static void end_body(struct sky_back *back, size_t extra)
{
    back->state = SKY_BACK_WHOLE;
    leave_conn(back, extra == 0 && !is_unsent(back) && !back->unusable);
}

static void eat_chunks(struct sky_back *back, struct sky_text input)
{
    struct sky_text data;
    enum sky_chunked_result result;

    while ((result = sky_chunked_next(&back->chunked, &input, &data)) == SKY_CHUNKED_DATA)
        add_piece(&back->filling, data);
    if (result == SKY_CHUNKED_DONE) {
        end_body(back, input.len);
    } else if (result == SKY_CHUNKED_ERROR) {
        back->defect = "broken chunked coding";
        fail(back, SKY_FAILURE_MALFORMED);
    }
}

/* Takes the framing off new bytes of the body; the bytes stay where they are. */
static void eat_body(struct sky_back *back, struct sky_text input)
{
    switch (back->framing) {
    case SKY_ANSWER_EMPTY:
        end_body(back, input.len);
        break;
    case SKY_ANSWER_LENGTH: {
        size_t part = input.len < back->left ? input.len : (size_t)back->left;
        if (part != 0)
            add_piece(&back->filling, sky_text(input.base, part));
        if ((back->left -= part) == 0)
            end_body(back, input.len - part);
        break;
    }
    case SKY_ANSWER_CHUNKED:
        eat_chunks(back, input);
        break;
    case SKY_ANSWER_CLOSE:
        if (input.len != 0)
            add_piece(&back->filling, input);
        break;
    }
}

/* As recv(2), but for EINTR. */
static ssize_t receive(struct sky_back *back, h2o_iovec_t room)
{
    ssize_t got;

    if (back->conn->ssl != NULL)
        return sky_back_tls_receive(back->conn, room.base, room.len);
    do
        got = recv(h2o_socket_get_fd(back->conn->sock), room.base, room.len, 0);
    while (got == -1 && errno == EINTR);
    return got;
}

static void pause_reading(struct sky_back *back)
{
    back->paused = true;
    sky_upstream_stop_reading(back->conn);
    h2o_timeout_unlink(&back->timer);
}

static void on_body_readable(struct sky_upstream_conn *conn)
{
    struct sky_back *back = conn->owner;
    h2o_buffer_t **buffer = &back->filling.buffer;

    if (*buffer == NULL)
        h2o_buffer_init(buffer, &body_prototype);
    if ((*buffer)->size > BODY_BUFFER_BYTES - BODY_ROOM_MIN_BYTES) {
        pause_reading(back);
        return;
    }
    h2o_iovec_t room = h2o_buffer_reserve(buffer, BODY_ROOM_MIN_BYTES);
    /* Never exactly up to the end: a byte behind it has to be seen, or the next answer begins
     * with it. */
    if (back->framing == SKY_ANSWER_LENGTH && room.len == back->left)
        --room.len;
    ssize_t got = receive(back, room);
    if (got == -1 && errno == EAGAIN)
        return;
    if (got > 0) {
        (*buffer)->size += (size_t)got;
        restart_clock(back);
        eat_body(back, sky_text(room.base, (size_t)got));
    } else if (got == 0 && back->framing == SKY_ANSWER_CLOSE) {
        end_body(back, 0);
    } else {
        fail(back, SKY_FAILURE_CUT);
    }
    back->events->progress(back);
}

/* --- head --- */

static void begin_body(struct sky_back *back, const struct sky_answer *answer)
{
    h2o_buffer_t *head = back->head;

    back->state = SKY_BACK_BODY;
    back->conn->on_readable = on_body_readable;
    back->framing = answer->framing;
    back->left = answer->framing == SKY_ANSWER_LENGTH ? answer->content_length : 0;
    if (!answer->keep_alive)
        back->unusable = true;
    eat_body(back, sky_text(head->bytes + answer->head_bytes, head->size - answer->head_bytes));
}

static void switch_protocol(struct sky_back *back, const struct sky_answer *answer)
{
    if (is_unsent(back) || back->events->switched == NULL ||
        !back->events->switched(back, answer)) {
        fail(back, SKY_FAILURE_SWITCHED);
        return;
    }
    h2o_timeout_unlink(&back->timer);
    back->state = SKY_BACK_SWITCHED;
    back->switch_bytes = answer->head_bytes;
}

static bool take_interim(struct sky_back *back, const struct sky_answer *answer)
{
    if (answer->status == 101) {
        switch_protocol(back, answer);
        return false;
    }
    if (back->interim_count++ == MAX_INTERIM) {
        back->defect = "too many interim answers";
        fail(back, SKY_FAILURE_MALFORMED);
        return false;
    }
    if (answer->status != 100)
        back->events->informed(back, answer);
    h2o_buffer_consume(&back->head, answer->head_bytes);
    back->scan = (struct sky_answer_scan){0};
    return true;
}

/* True when the state has changed. */
static bool parse_heads(struct sky_back *back)
{
    struct sky_answer answer;

    while (back->head->size != 0) {
        switch (sky_answer_parse(sky_text(back->head->bytes, back->head->size), back->head_request,
                                 &back->scan, &answer, &back->defect)) {
        case SKY_ANSWER_MORE:
            return false;
        case SKY_ANSWER_ERROR:
            fail(back, SKY_FAILURE_MALFORMED);
            return true;
        case SKY_ANSWER_DONE:
            if (answer.status >= 200) {
                back->events->answered(back, &answer);
                begin_body(back, &answer);
                return true;
            }
            if (!take_interim(back, &answer))
                return true;
            break;
        }
    }
    return false;
}

static void on_head_readable(struct sky_upstream_conn *conn)
{
    struct sky_back *back = conn->owner;
    h2o_iovec_t room = h2o_buffer_reserve(&back->head, HEAD_ROOM_BYTES);
    ssize_t got = receive(back, room);

    if (got == -1 && errno == EAGAIN)
        return;
    if (got <= 0) {
        bool refused = got == -1 && errno == EPROTO; /* as for want of our certificate */
        fail(back, refused ? SKY_FAILURE_TLS_REFUSED : SKY_FAILURE_CLOSED);
        back->events->progress(back);
        return;
    }
    back->unanswered = false;
    back->head->size += (size_t)got;
    restart_clock(back);
    if (parse_heads(back))
        back->events->progress(back);
}

/* --- life --- */

void sky_back_start(struct sky_back *back, const struct sky_back_events *events,
                    struct sky_upstream_conn *conn, h2o_mem_pool_t *pool, struct sky_text head,
                    h2o_iovec_t body, bool head_request)
{
    *back = (struct sky_back){.events = events,
                              .conn = conn,
                              .timer = {.cb = on_clock},
                              .unanswered = true,
                              .head_request = head_request};
    h2o_buffer_init(&back->head, &h2o_socket_buffer_prototype);
    conn->owner = back;
    conn->on_readable = on_head_readable;
    restart_clock(back);
    write_now(back, pool, head, body);
}

static void free_part(struct sky_back_part *part)
{
    if (part->buffer != NULL)
        h2o_buffer_dispose(&part->buffer);
    *part = (struct sky_back_part){0};
}

const struct sky_back_part *sky_back_take(struct sky_back *back)
{
    free_part(&back->taken);
    if (back->filling.count != 0) {
        back->taken = back->filling;
        back->filling = (struct sky_back_part){0};
    } else {
        free_part(&back->filling); /* framing at most: who waits for more keeps no room for it */
    }
    if (back->paused && back->conn != NULL) {
        back->paused = false;
        sky_upstream_resume_reading(back->conn);
        restart_clock(back);
    }
    return &back->taken;
}

struct sky_upstream_conn *sky_back_detach(struct sky_back *back, struct sky_text *early)
{
    struct sky_upstream_conn *conn = back->conn;

    assert(back->state == SKY_BACK_SWITCHED);
    *early =
        sky_text(back->head->bytes + back->switch_bytes, back->head->size - back->switch_bytes);
    back->conn = NULL;
    return conn;
}

void sky_back_cancel(struct sky_back *back)
{
    if (back->conn != NULL)
        fail(back, SKY_FAILURE_CUT);
}

void sky_back_fini(struct sky_back *back)
{
    sky_back_cancel(back);
    free_part(&back->taken);
    free_part(&back->filling);
    if (back->head != NULL)
        h2o_buffer_dispose(&back->head);
}

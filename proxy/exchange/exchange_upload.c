/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body on its way to the app while it comes in.
 *
 * Happy path: the head is written -> what is here of the body is read, framed and written -> once
 * that is done, or more is here, the next part -> the last one.
 * Failures: the body breaks off before there is an answer: the error page, and the app sees its
 * connection end in mid-request. During an answer: no more of it is sent, the answer decides. The
 * app answers or closes early: its answer passes, and the rest of the body stays with the client.
 * Once a byte of the body was read here, no other attempt is made: nobody has it any more. */
#include <inttypes.h>

#include "proxy/exchange/exchange_inside.h"
#include "proxy/front/http1_front.h"

#define PART_BYTES 65536
#define CHUNK_LINE_BYTES 10 /* "10000", CR and LF, and some room */
#define CHUNK_END_BYTES 8

struct sky_upload {
    struct sky_body_stream body;
    bool begun;  /* a byte was read */
    bool closed; /* the last part was written, or nothing more is to be */
    char part[CHUNK_LINE_BYTES + PART_BYTES + CHUNK_END_BYTES];
};

static void break_off(struct sky_exchange *exchange)
{
    enum sky_failure failure = sky_failure_of_body(sky_front_refusal(exchange->req));

    exchange->upload->closed = true;
    if (exchange->state == SKY_EXCHANGE_RELAYING) {
        sky_count(&exchange->worker->counters, sky_failure_info(failure)->counter);
        return;
    }
    h2o_timeout_unlink(&exchange->head_timer);
    sky_dial_cancel(&exchange->dial);
    sky_back_cancel(&exchange->back);
    sky_exchange_fail(exchange, failure);
}

/* The bytes at part + CHUNK_LINE_BYTES with what frames them (RFC 9112, 7.1). */
static h2o_iovec_t frame(struct sky_upload *upload, size_t bytes, bool last)
{
    char *begin = upload->part + CHUNK_LINE_BYTES, *end = begin + bytes;
    char line[CHUNK_LINE_BYTES + 1];

    if (!upload->body.chunked)
        return h2o_iovec_init(begin, bytes);
    if (bytes != 0) {
        int len = snprintf(line, sizeof(line), "%zx\r\n", bytes);
        begin -= len;
        memcpy(begin, line, (size_t)len);
        memcpy(end, "\r\n", 2);
        end += 2;
    }
    if (last) {
        memcpy(end, "0\r\n\r\n", 5);
        end += 5;
    }
    return h2o_iovec_init(begin, (size_t)(end - begin));
}

void sky_exchange_pump(struct sky_exchange *exchange)
{
    struct sky_upload *upload = exchange->upload;
    size_t got;

    if (upload == NULL || upload->closed || !sky_back_takes_body(&exchange->back))
        return;
    enum sky_stream_result result =
        sky_front_read(exchange->req, upload->part + CHUNK_LINE_BYTES, PART_BYTES, &got);
    upload->begun |= got != 0;
    switch (result) {
    case SKY_STREAM_FAILED:
        break_off(exchange);
        break;
    case SKY_STREAM_WAIT:
        sky_back_hold_clock(&exchange->back);
        break;
    case SKY_STREAM_BYTES:
    case SKY_STREAM_END:
        upload->closed = result == SKY_STREAM_END;
        sky_back_write(&exchange->back, frame(upload, got, upload->closed), upload->closed);
        break;
    }
}

static void on_readable(void *of)
{
    struct sky_exchange *exchange = of;

    if (exchange->upload->closed || exchange->state > SKY_EXCHANGE_RELAYING)
        return;
    if (sky_front_refusal(exchange->req) != SKY_REFUSAL_none)
        break_off(exchange);
    else
        sky_exchange_pump(exchange);
}

void sky_exchange_prepare_upload(struct sky_exchange *exchange)
{
    struct sky_body_stream body;

    if (!sky_front_streams(exchange->req, &body))
        return;
    exchange->upload = h2o_mem_alloc_pool(&exchange->req->pool, sizeof(*exchange->upload));
    exchange->upload->body = body;
    exchange->upload->begun = exchange->upload->closed = false;
    sky_front_on_readable(exchange->req, on_readable, exchange);
}

const struct sky_body_stream *sky_exchange_body(const struct sky_exchange *exchange)
{
    return exchange->upload != NULL ? &exchange->upload->body : NULL;
}

bool sky_exchange_body_begun(const struct sky_exchange *exchange)
{
    return exchange->upload != NULL && exchange->upload->begun;
}

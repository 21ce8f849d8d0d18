/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/access/access_request.h"

#include <time.h>

#include "proxy/client_address.h"
#include "proxy/front/http1_front.h"
#include "proxy/peer_text.h"

/* What nginx writes for a client that left before there was an answer. */
#define STATUS_CLIENT_GONE 499

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct sky_text view(h2o_iovec_t bytes)
{
    return sky_text(bytes.base, bytes.len);
}

void sky_access_stamp(const struct sky_worker *worker, struct sky_access_times *times, int64_t *at)
{
    if (worker->access_pen == NULL)
        return;
    int64_t monotonic_us = clock_us(CLOCK_MONOTONIC);
    if (times->wall_minus_monotonic_us == 0)
        times->wall_minus_monotonic_us = clock_us(CLOCK_REALTIME) - monotonic_us;
    *at = monotonic_us + times->wall_minus_monotonic_us;
}

void sky_access_start(const struct sky_worker *worker, struct sky_access_times *times)
{
    times->connected_us = times->answered_us = 0;
    sky_access_stamp(worker, times, &times->dialled_us);
    if (times->started_us == 0)
        times->started_us = times->dialled_us;
}

/* -1 when one of both was not reached. */
static int64_t between(int64_t from_us, int64_t to_us)
{
    if (from_us == 0 || to_us == 0)
        return -1;
    return to_us > from_us ? to_us - from_us : 0;
}

static struct sky_text protocol_of(const h2o_req_t *req)
{
    switch (req->version) {
    case 0x100:
        return SKY_TEXT("HTTP/1.0");
    case 0x101:
        return SKY_TEXT("HTTP/1.1");
    case 0x200:
        return SKY_TEXT("HTTP/2.0");
    default:
        return (struct sky_text){0};
    }
}

static struct sky_text field_of(const h2o_req_t *req, const h2o_token_t *name)
{
    ssize_t at = h2o_find_header(&req->headers, name, -1);
    return at != -1 ? view(req->headers.entries[at].value) : (struct sky_text){0};
}

/* The client's address lies in `client`. */
static void describe(struct sky_access *access, const h2o_req_t *req,
                     const struct sockaddr_storage *peer, char client[SKY_PEER_TEXT_BYTES])
{
    *access = (struct sky_access){
        .received_us = sky_front_received_us(req),
        .client = sky_peer_ip(peer, client),
        .method = view(req->input.method),
        .target = view(req->input.path),
        .protocol = protocol_of(req),
        .host = view(req->input.authority),
        .referer = field_of(req, H2O_TOKEN_REFERER),
        .user_agent = field_of(req, H2O_TOKEN_USER_AGENT),
        .bytes = req->bytes_sent,
        .queue_us = -1,
        .connect_us = -1,
        .first_byte_us = -1,
        .total_us = -1,
    };
}

static void add_trace(struct sky_access *access, const struct sky_trace *trace)
{
    struct sky_trace_names names;
    sky_trace_names(trace, &names);
    access->trace_id = names.trace_id;
    access->segment_id = names.segment_id;
    access->operation = names.operation;
}

void sky_access_request(struct sky_worker *worker, const h2o_req_t *req,
                        const struct sky_access_times *times, const char *server,
                        const struct sky_trace *trace, const struct sky_trace_outcome *outcome)
{
    char client[SKY_PEER_TEXT_BYTES];
    struct sockaddr_storage peer;
    struct sky_access access;
    struct sky_access_times ends = *times;
    int64_t end_us;

    if (worker->access_pen == NULL)
        return;
    sky_access_stamp(worker, &ends, &end_us);
    sky_client_address(req, sky_front_forwarded_trust(req, &worker->config->forwarded.trust),
                       &peer);
    describe(&access, req, &peer, client);
    access.status =
        outcome->client_gone && outcome->status == 0 ? STATUS_CLIENT_GONE : outcome->status;
    access.client_gone = outcome->client_gone;
    if (outcome->failure != NULL)
        access.failure = sky_text_of(outcome->failure);
    if (server != NULL)
        access.upstream = sky_text_of(server);
    if (trace != NULL)
        add_trace(&access, trace);
    access.queue_us = between(access.received_us, times->started_us);
    access.connect_us = between(times->dialled_us, times->connected_us);
    access.first_byte_us = between(times->connected_us, times->answered_us);
    access.total_us = between(access.received_us, end_us);
    sky_access_write(worker->access_pen, &access, &worker->counters);
}

void sky_access_refused(struct sky_access_pen *pen, struct sky_counters *counters,
                        const h2o_req_t *req, int status, const char *reason)
{
    char client[SKY_PEER_TEXT_BYTES];
    struct sockaddr_storage peer = {0};
    struct sky_access access;

    if (pen == NULL)
        return;
    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer);
    describe(&access, req, &peer, client);
    if (access.received_us == 0)
        access.received_us = clock_us(CLOCK_REALTIME);
    access.status = status;
    access.failure = sky_text_of(reason);
    sky_access_write(pen, &access, counters);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC over HTTP/2, framed by us: a batch is one `collect` call whose messages are all in
 * memory, so its length is known and the stream ends with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/gzip.h"
#include "reporter/transport_curl.h"

/* Flag and length before each message. */
#define FRAME_HEAD_BYTES 5

/* libcurl 7.88.1 fails each second request on a cleartext HTTP/2 connection (curl issue
 * 10634); 7.88.2 never was, 8.0.0 has it right. Over TLS all do. */
#define FIXED_REUSE_VERSION 0x080000

static const char *const paths[] = {
    [SKY_CALL_SEGMENTS] = "/skywalking.v3.TraceSegmentReportService/collect",
    [SKY_CALL_PROPERTIES] = "/skywalking.v3.ManagementService/reportInstanceProperties",
    [SKY_CALL_KEEP_ALIVE] = "/skywalking.v3.ManagementService/keepAlive",
    [SKY_CALL_LOGS] = "/skywalking.v3.LogReportService/collect",
    [SKY_CALL_EVENTS] = "/skywalking.v3.EventService/collect",
    [SKY_CALL_METERS] = "/skywalking.v3.MeterReportService/collectBatch",
};

static size_t put_frame_head(char *dst, size_t room, bool compressed, uint32_t size, size_t offset)
{
    const char head[FRAME_HEAD_BYTES] = {compressed, (char)(size >> 24), (char)(size >> 16),
                                         (char)(size >> 8), (char)size};
    size_t length = sizeof(head) - offset < room ? sizeof(head) - offset : room;

    memcpy(dst, head + offset, length);
    return length;
}

/* Writes frames straight from the packets into libcurl's buffer. */
static size_t on_read(char *dst, size_t size, size_t count, void *argument)
{
    struct sky_curl_call *call = argument;
    size_t room = size * count, length = 0;

    while (call->packet != NULL && length < room) {
        const struct sky_packet *packet = call->packet;
        if (call->packet_offset < FRAME_HEAD_BYTES) {
            size_t taken = put_frame_head(dst + length, room - length, call->compressed.count > 0,
                                          packet->size, call->packet_offset);
            call->packet_offset += taken;
            length += taken;
            continue;
        }
        size_t done = call->packet_offset - FRAME_HEAD_BYTES;
        size_t taken = packet->size - done < room - length ? packet->size - done : room - length;
        memcpy(dst + length, packet->data + done, taken);
        length += taken;
        call->packet_offset += taken;
        if (done + taken == packet->size) {
            call->packet = packet->next;
            call->packet_offset = 0;
        }
    }
    call->read_bytes += length;
    return length;
}

static const struct sky_packets *messages_of(const struct sky_curl_call *call)
{
    return call->compressed.count > 0 ? &call->compressed : &call->call->packets;
}

/* libcurl begins anew when a kept connection turns out to be dead. */
static int on_seek(void *argument, curl_off_t offset, int origin)
{
    struct sky_curl_call *call = argument;

    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    call->packet = messages_of(call)->first;
    call->packet_offset = 0;
    call->read_bytes = 0;
    return CURL_SEEKFUNC_OK;
}

static bool set_body(const struct sky_reporter_options *options, struct sky_curl_call *call)
{
    if (options->gzip && (!sky_gzip_packets(&call->call->packets, &call->compressed) ||
                          !sky_curl_header(call, "grpc-encoding: gzip")))
        return false;
    for (const struct sky_packet *packet = messages_of(call)->first; packet != NULL;
         packet = packet->next)
        call->body_bytes += FRAME_HEAD_BYTES + packet->size;
    call->packet = messages_of(call)->first;
    curl_easy_setopt(call->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(call->easy, CURLOPT_READDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(call->easy, CURLOPT_SEEKDATA, call);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
    return true;
}

static bool prepare(const struct sky_reporter_options *options, struct sky_curl_call *call)
{
    bool is_tls = options->tls.enabled;
    bool can_reuse =
        is_tls || curl_version_info(CURLVERSION_NOW)->version_num >= FIXED_REUSE_VERSION;

    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION,
                     (long)(is_tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, can_reuse ? 0L : 1L);
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, can_reuse ? 0L : 1L);
    curl_easy_setopt(call->easy, CURLOPT_PIPEWAIT, 1L);
    return set_body(options, call) && sky_curl_url(options, call, paths[call->call->kind]) &&
           sky_curl_header(call, "content-type: application/grpc") &&
           sky_curl_header(call, "te: trailers") && sky_curl_header(call, "grpc-timeout: 30S") &&
           sky_curl_header(call, "user-agent: grpc-c-skystitch/" SKY_VERSION) &&
           sky_curl_header(call, "accept:") && sky_curl_header(call, "expect:") &&
           sky_curl_authentication(options, call);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Percent-decodes what fits; a broken escape stays as it is. */
static void copy_message(char *dst, size_t size, struct sky_text text)
{
    size_t length = 0;

    for (size_t i = 0; i < text.len && length + 1 < size; i++) {
        int high = -1, low = -1;
        if (text.base[i] == '%' && i + 2 < text.len) {
            high = hex_digit(text.base[i + 1]);
            low = hex_digit(text.base[i + 2]);
        }
        bool is_escape = high >= 0 && low >= 0 && high + low > 0;
        dst[length++] = is_escape ? (char)(high << 4 | low) : text.base[i];
        i += is_escape ? 2 : 0;
    }
    dst[length] = '\0';
}

/* A status that is no number from 0 to 16 is UNKNOWN. */
static int parse_status(struct sky_text digits)
{
    int status = 0;

    if (digits.len < 1 || digits.len > 2)
        return 2;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.base[i] < '0' || digits.base[i] > '9')
            return 2;
        status = status * 10 + digits.base[i] - '0';
    }
    return status <= 16 ? status : 2;
}

static bool take_value(struct sky_text line, struct sky_text name, struct sky_text *value)
{
    if (line.len < name.len || !sky_text_equal_nocase(sky_text(line.base, name.len), name))
        return false;
    *value = sky_text(line.base + name.len, line.len - name.len);
    while (value->len > 0 && (*value->base == ' ' || *value->base == '\t'))
        *value = sky_text(value->base + 1, value->len - 1);
    while (value->len > 0 && value->base[value->len - 1] == ' ')
        value->len--;
    return true;
}

static void on_header(struct sky_curl_call *call, struct sky_text line)
{
    struct sky_text value;

    if (take_value(line, SKY_TEXT("grpc-status:"), &value))
        call->grpc_status = parse_status(value);
    else if (take_value(line, SKY_TEXT("grpc-message:"), &value))
        copy_message(call->grpc_message, sizeof(call->grpc_message), value);
}

static bool is_answered(const struct sky_curl_call *call)
{
    return call->grpc_status >= 0;
}

/* Status 8 is a message too large, or a server short of memory: only its text tells. */
static bool is_about_size(const char *message)
{
    return strcasestr(message, "maximum size") != NULL || strcasestr(message, "than max") != NULL;
}

static enum sky_outcome outcome_of(const struct sky_curl_call *call)
{
    switch (call->grpc_status) {
    case 0:
        /* Messages that the backend did not wait for are not confirmed by its OK. */
        return sky_curl_sent(call) == call->body_bytes ? SKY_OUTCOME_CONFIRMED : SKY_OUTCOME_LATE;
    case 1:
    case 10:
    case 14:
        return SKY_OUTCOME_UNAVAILABLE;
    case 4:
        return SKY_OUTCOME_LATE;
    case 7:
    case 16:
        return SKY_OUTCOME_DENIED;
    case 8:
        return is_about_size(call->grpc_message) ? SKY_OUTCOME_REFUSED : SKY_OUTCOME_UNAVAILABLE;
    case 12:
        return SKY_OUTCOME_UNSUPPORTED;
    default:
        return SKY_OUTCOME_REFUSED;
    }
}

/* An HTTP answer without a grpc-status is from something between us and OAP, or from no gRPC server
 * at all: neither says anything about the segments, so none is dropped for it. */
static void judge_foreign(struct sky_call *call, long http_status)
{
    call->outcome = SKY_OUTCOME_UNAVAILABLE;
    if (http_status == 401 || http_status == 403)
        call->outcome = SKY_OUTCOME_DENIED;
    else if (http_status == 404)
        call->outcome = SKY_OUTCOME_UNSUPPORTED;
    snprintf(call->error, sizeof(call->error), "HTTP status %ld without grpc-status", http_status);
}

static void judge(struct sky_curl_call *call, CURLcode result)
{
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};
    long http_status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http_status);
    if (call->grpc_status >= 0) {
        call->call->outcome = outcome_of(call);
        /* OAP analyses each segment as it comes, so of a call that was cut short some are done. */
        call->is_unclear = sky_curl_sent(call) > 0 &&
                           (call->call->outcome == SKY_OUTCOME_LATE || call->grpc_status == 1);
        snprintf(call->call->error, sizeof(call->call->error), "grpc-status %d %s%s%s",
                 call->grpc_status, names[call->grpc_status],
                 call->grpc_message[0] != '\0' ? ": " : "", call->grpc_message);
    } else if (result == CURLE_OK || http_status >= 400) {
        judge_foreign(call->call, http_status);
        call->is_unclear = http_status == 502 || http_status == 504;
    } else {
        sky_curl_judge_broken(call, result);
    }
}

static struct sky_transport *create(const struct sky_reporter_options *options)
{
    static const struct sky_curl_dialect dialect = {prepare, on_header, is_answered, judge};

    return sky_curl_create(options, &dialect);
}

const struct sky_transport_ops sky_transport_grpc = {
    .max_batch_bytes = SIZE_MAX,
    .credentials_option = "reporter.authentication",
    .create = create,
    .start = sky_curl_start,
    .wait = sky_curl_wait,
    .cancel = sky_curl_cancel,
    .destroy = sky_curl_destroy,
};

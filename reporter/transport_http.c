/* SPDX-License-Identifier: Apache-2.0 */
/* OAP's REST receiver, or another skystitch: JSON over HTTP/1.1 with kept connections. */
#include <stdio.h>
#include <stdlib.h>

#include "event.pb-c.h"
#include "logging.pb-c.h"
#include "management.pb-c.h"
#include "reporter/proto_json.h"
#include "reporter/transport_curl.h"
#include "tracing.pb-c.h"

/* OAP takes bodies of 10 MiB; JSON is two to three times the packed bytes. */
#define MAX_BATCH_BYTES (2u << 20)

static const struct {
    const char *path;
    const ProtobufCMessageDescriptor *descriptor;
} kinds[] = {
    [SKY_CALL_SEGMENTS] = {"/v3/segments", &skywalking__v3__segment_object__descriptor},
    [SKY_CALL_PROPERTIES] = {"/v3/management/reportProperties",
                             &skywalking__v3__instance_properties__descriptor},
    [SKY_CALL_KEEP_ALIVE] = {"/v3/management/keepAlive",
                             &skywalking__v3__instance_ping_pkg__descriptor},
    [SKY_CALL_LOGS] = {"/v3/logs", &skywalking__v3__log_data__descriptor},
    [SKY_CALL_EVENTS] = {"/v3/events", &skywalking__v3__event__descriptor},
};

static void write_packet(struct sky_json_text *json, const ProtobufCMessageDescriptor *descriptor,
                         const struct sky_packet *packet)
{
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, NULL, packet->size, packet->data);

    if (message == NULL) {
        json->failed = true;
        return;
    }
    sky_json_comma(json);
    sky_proto_to_json(json, message);
    protobuf_c_message_free_unpacked(message, NULL);
}

static bool set_body(struct sky_curl_call *call)
{
    struct sky_json_text json = {0};
    const ProtobufCMessageDescriptor *descriptor = kinds[call->call->kind].descriptor;
    bool is_array = sky_call_owns_packets(call->call->kind);

    if (is_array)
        sky_json_raw(&json, SKY_TEXT("["));
    for (const struct sky_packet *packet = call->call->packets.first; packet != NULL;
         packet = packet->next)
        write_packet(&json, descriptor, packet);
    if (is_array)
        sky_json_raw(&json, SKY_TEXT("]"));
    call->body_bytes = json.length;
    call->text = sky_json_take(&json);
    if (call->text == NULL)
        return false;
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->text);
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_bytes);
    return true;
}

static bool prepare(const struct sky_reporter_options *options, struct sky_curl_call *call)
{
    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    return set_body(call) && sky_curl_url(options, call, kinds[call->call->kind].path) &&
           sky_curl_header(call, "content-type: application/json") &&
           sky_curl_header(call, "user-agent: skystitch/" SKY_VERSION) &&
           sky_curl_header(call, "accept:") && sky_curl_header(call, "expect:") &&
           sky_curl_authentication(options, call);
}

/* 400 and 500 are how OAP answers a segment that it cannot analyse. */
static enum sky_outcome outcome_of(long status)
{
    switch (status) {
    case 400:
    case 413:
    case 422:
    case 500:
        return SKY_OUTCOME_REFUSED;
    case 401:
    case 403:
        return SKY_OUTCOME_DENIED;
    case 404:
    case 405:
    case 501:
        return SKY_OUTCOME_UNSUPPORTED;
    default:
        return status >= 200 && status < 300 ? SKY_OUTCOME_CONFIRMED : SKY_OUTCOME_UNAVAILABLE;
    }
}

static void judge(struct sky_curl_call *call, CURLcode result)
{
    long status = 0;

    if (result != CURLE_OK) {
        sky_curl_judge_broken(call, result);
        return;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    call->call->outcome = outcome_of(status);
    call->is_unclear = status == 502 || status == 504; /* of something between us and OAP */
    snprintf(call->call->error, sizeof(call->call->error), "HTTP status %ld", status);
}

static struct sky_transport *create(const struct sky_reporter_options *options)
{
    static const struct sky_curl_dialect dialect = {.prepare = prepare, .judge = judge};

    return sky_curl_create(options, &dialect);
}

const struct sky_transport_ops sky_transport_http = {
    .max_batch_bytes = MAX_BATCH_BYTES,
    .credentials_option = "reporter.authentication",
    .lacks = 1u << SKY_CALL_METERS,
    .create = create,
    .start = sky_curl_start,
    .wait = sky_curl_wait,
    .cancel = sky_curl_cancel,
    .destroy = sky_curl_destroy,
};

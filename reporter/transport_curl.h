/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by libcurl on one multi handle: what the gRPC and the REST transport share. Reporter thread
 * only. */
#ifndef SKY_REPORTER_TRANSPORT_CURL_H
#define SKY_REPORTER_TRANSPORT_CURL_H

#include <curl/curl.h>

#include "reporter/transport.h"

#define SKY_CURL_DEADLINE_MS 30000

struct sky_curl_dialect;

/* One call under way. */
struct sky_curl_call {
    const struct sky_curl_dialect *dialect;
    struct sky_call *call;
    struct sky_curl_call *next; /* of the transport's list */
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to; /* where the URL does not say it */
    uint64_t body_bytes;
    uint64_t read_bytes;     /* of the body, by libcurl so far */
    uint64_t received_bytes; /* of the answer's body */
    unsigned answered_turns; /* since the answer is known */
    bool is_unclear;         /* judged: not confirmed, but the backend may have taken some of it */
    char curl_error[CURL_ERROR_SIZE];
    /* gRPC: where the body is read from; status -1 until it has come. */
    struct sky_packets compressed; /* instead of the call's own, when there is any */
    const struct sky_packet *packet;
    size_t packet_offset; /* in frame head and data */
    int grpc_status;
    char grpc_message[120];
    /* REST: the body. */
    char *text;
};

/* What a protocol does in its own way. */
struct sky_curl_dialect {
    /* Sets URL, headers and body. false: memory is out. */
    bool (*prepare)(const struct sky_reporter_options *options, struct sky_curl_call *call);
    /* Takes a field line of head or trailers, without CRLF. NULL: none are wanted. */
    void (*on_header)(struct sky_curl_call *call, struct sky_text line);
    /* Whether the answer is known although libcurl goes on. NULL: never. */
    bool (*is_answered)(const struct sky_curl_call *call);
    /* Sets outcome and error of the sender's call. */
    void (*judge)(struct sky_curl_call *call, CURLcode result);
};

/* sky_curl_create: for create of the table. NULL when memory is out. */
struct sky_transport *sky_curl_create(const struct sky_reporter_options *options,
                                      const struct sky_curl_dialect *dialect);

/* The rest of the table. */
bool sky_curl_start(struct sky_transport *transport, struct sky_call *call);
bool sky_curl_wait(struct sky_transport *transport, int wake_fd, int timeout_ms);
void sky_curl_cancel(struct sky_transport *transport, struct sky_call *call);
void sky_curl_destroy(struct sky_transport *transport);

/* sky_curl_url: sets http[s]://<backend><path>, with the server_name of TLS for its host. false:
 * memory is out. */
bool sky_curl_url(const struct sky_reporter_options *options, struct sky_curl_call *call,
                  const char *path);

/* sky_curl_header: adds a field line. false: memory is out. */
bool sky_curl_header(struct sky_curl_call *call, const char *line);

/* sky_curl_authentication: adds the token, when there is one. false: memory is out. */
bool sky_curl_authentication(const struct sky_reporter_options *options,
                             struct sky_curl_call *call);

/* sky_curl_sent: so many bytes of the body have left. Those read may wait in libcurl's buffer for
 * the backend's window. */
uint64_t sky_curl_sent(const struct sky_curl_call *call);

/* sky_curl_judge_broken: outcome and error of a call that got no answer. */
void sky_curl_judge_broken(struct sky_curl_call *call, CURLcode result);

#endif

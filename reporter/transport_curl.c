/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: start (easy handle into the multi handle) -> wait (poll, perform) -> libcurl reports
 * the end -> judge -> done.
 *
 * Failures:
 * - no connection, a broken one, the deadline: libcurl reports it, judged as unavailable or late.
 * - the backend answers while the body is still going up: libcurl would go on until its deadline
 *   (7.88.1) or the end of the body; wait takes the call out of the multi handle and judges.
 * - the backend answers before it, and libcurl sees that only when it sends the last of the body:
 *   it would go on until its deadline; wait does the same after MAX_ANSWERED_TURNS.
 * - an answer that does not end: cut off at MAX_ANSWER_BYTES.
 * - the backend's HTTP/2 window stays shut: libcurl asks for writability all the same and then
 * writes nothing; wait pauses when that has gone on for MAX_EMPTY_TURNS. */
#include "reporter/transport_curl.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000
#define MAX_ANSWER_BYTES (64u << 10)
/* Calls are seconds apart; a name that moved is found again at the next. */
#define DNS_CACHE_S 10L
/* libcurl holds the parsed CAs for a day; a renewed file is to be seen sooner. */
#define CA_CACHE_S 60L

/* Or the thread would spin until the backend reads again: libcurl 7.88.1 holds back an upload for
 * its stream's window, but not for the connection's. */
#define MAX_EMPTY_TURNS 16
#define PAUSE_MS 5

/* Of a call whose answer is known: so long libcurl may take to end it. */
#define MAX_ANSWERED_TURNS 16

struct sky_transport {
    const struct sky_reporter_options *options;
    const struct sky_curl_dialect *dialect;
    CURLM *multi;
    struct sky_curl_call *calls; /* under way */
    unsigned empty_turns;        /* in a row that were ready at once and moved nothing */
};

struct sky_transport *sky_curl_create(const struct sky_reporter_options *options,
                                      const struct sky_curl_dialect *dialect)
{
    struct sky_transport *transport = calloc(1, sizeof(*transport));

    if (transport == NULL)
        return NULL;
    transport->options = options;
    transport->dialect = dialect;
    transport->multi = curl_multi_init();
    if (transport->multi == NULL) {
        free(transport);
        return NULL;
    }
    return transport;
}

static size_t on_header(char *line, size_t size, size_t count, void *argument)
{
    struct sky_curl_call *call = argument;
    size_t length = size * count;

    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n'))
        length--;
    if (call->dialect->on_header != NULL)
        call->dialect->on_header(call, sky_text(line, length));
    return size * count;
}

/* What an answer says beyond its status is nothing to us. */
static size_t on_answer(char *bytes, size_t size, size_t count, void *argument)
{
    struct sky_curl_call *call = argument;

    (void)bytes;
    call->received_bytes += size * count;
    return call->received_bytes <= MAX_ANSWER_BYTES ? size * count : 0;
}

bool sky_curl_header(struct sky_curl_call *call, const char *line)
{
    struct curl_slist *longer = curl_slist_append(call->headers, line);

    if (longer == NULL)
        return false;
    call->headers = longer;
    return true;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

bool sky_curl_authentication(const struct sky_reporter_options *options, struct sky_curl_call *call)
{
    char *line;

    if (!is_given(options->authentication))
        return true;
    if (asprintf(&line, "authentication: %s", options->authentication) < 0)
        return false;
    bool is_added = sky_curl_header(call, line);
    free(line);
    return is_added;
}

bool sky_curl_url(const struct sky_reporter_options *options, struct sky_curl_call *call,
                  const char *path)
{
    const char *backend = options->backends[call->call->backend];
    char *url;
    int length;

    if (!options->tls.enabled)
        length = asprintf(&url, "http://%s%s", backend, path);
    else if (is_given(options->tls.server_name))
        length =
            asprintf(&url, "https://%s%s%s", options->tls.server_name, strrchr(backend, ':'), path);
    else
        length = asprintf(&url, "https://%s%s", backend, path);
    if (length < 0)
        return false;
    bool is_set = curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK;
    free(url);
    return is_set;
}

/* The name goes into the URL, so that it is asked for (SNI), checked and sent as host; the
 * connection goes to the backend all the same. */
static bool connect_to_backend(const struct sky_reporter_options *options,
                               struct sky_curl_call *call)
{
    char *mapping;

    if (asprintf(&mapping, "::%s", options->backends[call->call->backend]) < 0)
        return false;
    call->connect_to = curl_slist_append(NULL, mapping);
    free(mapping);
    return call->connect_to != NULL &&
           curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to) == CURLE_OK;
}

static bool set_tls(const struct sky_reporter_options *options, struct sky_curl_call *call)
{
    const struct sky_backend_tls *tls = &options->tls;
    CURL *easy = call->easy;

    if (!tls->enabled)
        return true;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    if (is_given(tls->ca) && (curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca) != CURLE_OK ||
                              /* or the system's roots would be trusted beside it */
                              curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK))
        return false;
    if (is_given(tls->certificate) &&
        (curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->certificate) != CURLE_OK ||
         curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key) != CURLE_OK))
        return false;
    return !is_given(tls->server_name) || connect_to_backend(options, call);
}

static void set_common_options(struct sky_curl_call *call)
{
    CURL *easy = call->easy;

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* http_proxy is for the app's calls */
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)SKY_CURL_DEADLINE_MS);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* no waiting for a resolver at the stop */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
}

static void destroy_call(struct sky_curl_call *call)
{
    if (call == NULL)
        return;
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    sky_packets_free(&call->compressed);
    free(call->text);
    free(call);
}

bool sky_curl_start(struct sky_transport *transport, struct sky_call *call)
{
    struct sky_curl_call *started = calloc(1, sizeof(*started));

    if (started == NULL)
        return false;
    started->dialect = transport->dialect;
    started->call = call;
    started->grpc_status = -1;
    started->easy = curl_easy_init();
    if (started->easy == NULL)
        goto fail;
    set_common_options(started);
    if (!set_tls(transport->options, started) ||
        !started->dialect->prepare(transport->options, started) ||
        curl_easy_setopt(started->easy, CURLOPT_HTTPHEADER, started->headers) != CURLE_OK ||
        curl_multi_add_handle(transport->multi, started->easy) != CURLM_OK)
        goto fail;
    started->next = transport->calls;
    transport->calls = started;
    return true;
fail:
    destroy_call(started);
    return false;
}

static void take_out(struct sky_transport *transport, struct sky_curl_call *call)
{
    struct sky_curl_call **link = &transport->calls;

    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    curl_multi_remove_handle(transport->multi, call->easy);
}

static void end_call(struct sky_transport *transport, struct sky_curl_call *call, CURLcode result)
{
    struct sky_call *ended = call->call;

    call->dialect->judge(call, result);
    ended->sent_bytes = call->body_bytes;
    if (call->is_unclear && ended->kind == SKY_CALL_SEGMENTS)
        sky_packets_append(&ended->unclear, &ended->packets);
    take_out(transport, call);
    destroy_call(call);
    ended->done(ended);
}

static struct sky_curl_call *find_by_easy(struct sky_transport *transport, const CURL *easy)
{
    struct sky_curl_call *call = transport->calls;

    while (call->easy != easy)
        call = call->next;
    return call;
}

static void end_finished(struct sky_transport *transport)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(transport->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            end_call(transport, find_by_easy(transport, message->easy_handle),
                     message->data.result);
    }
}

static bool is_answered(const struct sky_transport *transport, const struct sky_curl_call *call)
{
    return transport->dialect->is_answered != NULL && transport->dialect->is_answered(call);
}

/* With the body sent to its end the end of the stream is near, and libcurl may keep the connection.
 */
static void end_answered(struct sky_transport *transport)
{
    struct sky_curl_call *next;

    for (struct sky_curl_call *call = transport->calls; call != NULL; call = next) {
        next = call->next;
        if (is_answered(transport, call) &&
            (sky_curl_sent(call) < call->body_bytes || ++call->answered_turns > MAX_ANSWERED_TURNS))
            end_call(transport, call, CURLE_ABORTED_BY_CALLBACK);
    }
}

/* An end that libcurl has missed makes no socket ready. */
static int wait_ms(const struct sky_transport *transport, int timeout_ms)
{
    const struct sky_curl_call *call = transport->calls;

    while (call != NULL && !is_answered(transport, call))
        call = call->next;
    return call != NULL && timeout_ms > PAUSE_MS ? PAUSE_MS : timeout_ms;
}

static uint64_t moved_bytes(const struct sky_transport *transport)
{
    uint64_t sum = 0;

    for (const struct sky_curl_call *call = transport->calls; call != NULL; call = call->next)
        sum += call->read_bytes + call->received_bytes;
    return sum;
}

static void pause_until_woken(int wake_fd, int timeout_ms)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};

    poll(&wake, 1, timeout_ms < PAUSE_MS ? timeout_ms : PAUSE_MS);
}

bool sky_curl_wait(struct sky_transport *transport, int wake_fd, int timeout_ms)
{
    struct curl_waitfd wake = {.fd = wake_fd, .events = CURL_WAIT_POLLIN};
    uint64_t moved = moved_bytes(transport);
    int ready = 0, running; /* ready is not set when memory is out */

    if (transport->empty_turns >= MAX_EMPTY_TURNS)
        pause_until_woken(wake_fd, timeout_ms);
    curl_multi_poll(transport->multi, &wake, 1, wait_ms(transport, timeout_ms), &ready);
    curl_multi_perform(transport->multi, &running);
    bool is_empty = ready > 0 && wake.revents == 0 && moved_bytes(transport) == moved;
    transport->empty_turns = is_empty ? transport->empty_turns + 1 : 0;
    end_finished(transport);
    end_answered(transport);
    return wake.revents != 0;
}

void sky_curl_cancel(struct sky_transport *transport, struct sky_call *call)
{
    struct sky_curl_call *found = transport->calls;

    while (found->call != call)
        found = found->next;
    if (sky_curl_sent(found) > 0 && call->kind == SKY_CALL_SEGMENTS)
        sky_packets_append(&call->unclear, &call->packets);
    take_out(transport, found);
    destroy_call(found);
}

void sky_curl_destroy(struct sky_transport *transport)
{
    assert(transport->calls == NULL);
    curl_multi_cleanup(transport->multi);
    free(transport);
}

uint64_t sky_curl_sent(const struct sky_curl_call *call)
{
    curl_off_t sent = 0;

    curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return (uint64_t)sent;
}

void sky_curl_judge_broken(struct sky_curl_call *call, CURLcode result)
{
    const char *text = call->curl_error[0] != '\0' ? call->curl_error : curl_easy_strerror(result);
    curl_off_t sending_us = 0, total_us = 0;

    curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &sending_us);
    curl_easy_getinfo(call->easy, CURLINFO_TOTAL_TIME_T, &total_us);
    /* A server that keeps the deadline itself resets the stream without a status. */
    bool is_late = sending_us > 0 && (result == CURLE_OPERATION_TIMEDOUT ||
                                      total_us >= (curl_off_t)SKY_CURL_DEADLINE_MS * 1000);
    call->is_unclear = sky_curl_sent(call) > 0;
    call->call->outcome = is_late ? SKY_OUTCOME_LATE : SKY_OUTCOME_UNAVAILABLE;
    snprintf(call->call->error, sizeof(call->call->error), "%.190s", text);
}

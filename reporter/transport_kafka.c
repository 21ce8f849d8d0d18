/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: start (each segment is one record, copied into librdkafka's queue) -> librdkafka's
 * threads send them -> wait (its queue of reports has made the eventfd readable) -> the last report
 * of the call -> done.
 *
 * Failures:
 * - a record above message.max.bytes, or one that the broker will never take: refused alone.
 * - no broker answers: librdkafka says so once; its queue is emptied, so that the batch is back and
 *   the sender's pause begins. The next call waits in librdkafka, which connects by itself, until a
 *   broker is there or message.timeout.ms has passed.
 * - its queue is full, or a record's time is over: kept, the others of the batch are not.
 * - cancel: what was reported until then is settled, and the records' copies live on in
 *   librdkafka until its end. */
#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "reporter/kafka_conf.h"
#include "reporter/kafka_key.h"
#include "reporter/log.h"
#include "reporter/transport.h"

struct kafka_call;

struct record {
    struct kafka_call *call;
    rd_kafka_resp_err_t error;
    bool is_reported;
    bool is_unclear; /* it may be in the broker's log although an error was reported */
};

/* One call under way, or one that was cancelled and whose reports are still to come. */
struct kafka_call {
    struct kafka_call *next;
    struct sky_call *call; /* NULL: cancelled */
    size_t left;           /* records without a report */
    struct record records[];
};

struct sky_transport {
    const struct sky_reporter_options *options;
    rd_kafka_t *producer;
    char *topics[SKY_CALL_KIND_COUNT]; /* by kind of call */
    int event_fd;
    struct kafka_call *calls;
    bool has_ended; /* a call ended within start: wait must not sleep */
    bool is_purge_due;
    rd_kafka_resp_err_t last_error; /* of a connection */
    char last_text[160];
};

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *argument)
{
    struct record *record = message->_private;

    (void)producer;
    (void)argument;
    record->error = message->err;
    record->is_reported = true;
    record->is_unclear = rd_kafka_message_status(message) == RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED;
    record->call->left--;
}

static void on_error(rd_kafka_t *producer, int error, const char *reason, void *argument)
{
    struct sky_transport *transport = argument;

    (void)producer;
    /* The line of a single connection says more than the one that all are down. */
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        transport->is_purge_due = true;
        if (transport->last_error != RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
    }
    transport->last_error = error;
    transport->is_purge_due |= error == RD_KAFKA_RESP_ERR__AUTHENTICATION;
    snprintf(transport->last_text, sizeof(transport->last_text), "%s", reason);
}

static void on_log(const rd_kafka_t *producer, int level, const char *facility, const char *text)
{
    (void)producer;
    (void)level;
    sky_log(SKY_LOG_DEBUG, "librdkafka: %s: %s", facility, text);
}

static bool make_producer(struct sky_transport *transport)
{
    static const uint64_t one = 1;
    char error[256];
    rd_kafka_conf_t *conf = sky_kafka_conf_new(transport->options, error, sizeof(error));

    if (conf != NULL) {
        rd_kafka_conf_set_opaque(conf, transport);
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_log_cb(conf, on_log);
        transport->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    }
    if (transport->producer == NULL) {
        if (conf != NULL)
            rd_kafka_conf_destroy(conf);
        sky_log(SKY_LOG_ERROR, "reporter.kafka.properties: %s", error);
        return false;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(transport->producer);
    rd_kafka_queue_io_event_enable(queue, transport->event_fd, &one, sizeof(one));
    rd_kafka_queue_destroy(queue);
    return true;
}

static void destroy(struct sky_transport *transport)
{
    struct kafka_call *call;

    if (transport->producer != NULL)
        rd_kafka_destroy(transport->producer);
    while ((call = transport->calls) != NULL) {
        assert(call->call == NULL);
        transport->calls = call->next;
        free(call);
    }
    if (transport->event_fd >= 0)
        close(transport->event_fd);
    for (size_t i = 0; i < SKY_CALL_KIND_COUNT; i++)
        free(transport->topics[i]);
    free(transport);
}

static bool make_topics(struct sky_transport *transport, const struct sky_kafka *kafka)
{
    const char *const names[SKY_CALL_KIND_COUNT] = {
        [SKY_CALL_SEGMENTS] = kafka->topic_segment,
        [SKY_CALL_PROPERTIES] = kafka->topic_management,
        [SKY_CALL_KEEP_ALIVE] = kafka->topic_management,
        [SKY_CALL_LOGS] = kafka->topic_log,
        [SKY_CALL_METERS] = kafka->topic_meter,
    };

    for (size_t i = 0; i < SKY_CALL_KIND_COUNT; i++) {
        if (names[i] == NULL)
            continue;
        transport->topics[i] = sky_kafka_topic(kafka, names[i]);
        if (transport->topics[i] == NULL)
            return false;
    }
    return true;
}

static struct sky_transport *create(const struct sky_reporter_options *options)
{
    struct sky_transport *transport = calloc(1, sizeof(*transport));

    if (transport == NULL)
        return NULL;
    transport->options = options;
    transport->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (transport->event_fd >= 0 && make_topics(transport, &options->kafka) &&
        make_producer(transport))
        return transport;
    destroy(transport);
    return NULL;
}

static void produce(struct sky_transport *transport, struct record *record,
                    const struct sky_packet *packet)
{
    char key[SKY_KAFKA_KEY_BYTES];
    enum sky_call_kind kind = record->call->call->kind;
    size_t key_bytes = sky_kafka_key(key, kind, packet);
    union {
        const void *readable;
        void *writable; /* RD_KAFKA_MSG_F_COPY only reads it */
    } value = {packet->data};

    rd_kafka_resp_err_t error = rd_kafka_producev(
        transport->producer, RD_KAFKA_V_TOPIC(transport->topics[kind]),
        RD_KAFKA_V_KEY(key, key_bytes), RD_KAFKA_V_VALUE(value.writable, packet->size),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(record), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    record->error = error;
    record->is_reported = true;
    record->call->left--;
}

static bool start(struct sky_transport *transport, struct sky_call *call)
{
    size_t count = call->packets.count, i = 0;
    struct kafka_call *started = calloc(1, sizeof(*started) + count * sizeof(struct record));

    if (started == NULL)
        return false;
    started->call = call;
    started->left = count;
    started->next = transport->calls;
    transport->calls = started;
    for (struct sky_packet *packet = call->packets.first; packet != NULL; packet = packet->next) {
        started->records[i].call = started;
        produce(transport, &started->records[i++], packet);
    }
    transport->has_ended |= started->left == 0;
    return true;
}

/* What no repetition changes. */
static bool is_refusal(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
           error == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
           error == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ||
           error == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

static enum sky_outcome outcome_of(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return SKY_OUTCOME_CONFIRMED;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return SKY_OUTCOME_DENIED;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return SKY_OUTCOME_UNSUPPORTED;
    default:
        return SKY_OUTCOME_UNAVAILABLE;
    }
}

/* Records that only waited fail for what kept the connection away. */
static bool is_waiting_over(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || error == RD_KAFKA_RESP_ERR__PURGE_QUEUE;
}

static void explain(const struct sky_transport *transport, struct sky_call *call,
                    rd_kafka_resp_err_t error)
{
    if (is_waiting_over(error) && transport->last_error != RD_KAFKA_RESP_ERR_NO_ERROR)
        snprintf(call->error, sizeof(call->error), "%s", transport->last_text);
    else
        snprintf(call->error, sizeof(call->error), "%.80s: %s", transport->topics[call->kind],
                 rd_kafka_err2str(error));
}

/* Sorts a call's packets by what was said of each. The management's stay where they are: they are
 * the sender's own. */
static void settle(struct sky_transport *transport, struct kafka_call *ended)
{
    struct sky_call *call = ended->call;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    struct sky_packets kept = {0}, all = call->packets;

    for (size_t i = 0; all.count > 0; i++) {
        struct sky_packet *packet = sky_packets_shift(&all);
        const struct record *record = &ended->records[i];
        bool is_confirmed = record->is_reported && record->error == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (record->error != RD_KAFKA_RESP_ERR_NO_ERROR && error == RD_KAFKA_RESP_ERR_NO_ERROR)
            explain(transport, call, record->error);
        if (is_confirmed)
            call->sent_bytes += packet->size;
        if (is_confirmed && sky_call_owns_packets(call->kind)) {
            sky_packets_add(&call->confirmed, packet);
        } else if (is_refusal(record->error) && sky_call_owns_packets(call->kind)) {
            sky_packets_add(&call->refused, packet);
        } else {
            bool is_unclear = record->is_unclear || !record->is_reported;
            bool is_segment = call->kind == SKY_CALL_SEGMENTS;
            sky_packets_add(is_unclear && is_segment ? &call->unclear : &kept, packet);
            if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
                error = record->error;
        }
    }
    call->packets = kept;
    if (is_waiting_over(error) && transport->last_error == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        error = transport->last_error;
    call->outcome = is_refusal(error) ? SKY_OUTCOME_REFUSED : outcome_of(error);
    if (call->confirmed.count > 0 || call->outcome == SKY_OUTCOME_CONFIRMED)
        transport->last_error = RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* From the oldest on. The list may have changed once done was called. */
static void end_settled(struct sky_transport *transport)
{
    struct kafka_call **oldest, *call;

    transport->has_ended = false;
    do {
        oldest = NULL;
        for (struct kafka_call **link = &transport->calls; *link != NULL; link = &(*link)->next) {
            if ((*link)->left == 0)
                oldest = link;
        }
        if (oldest == NULL)
            return;
        call = *oldest;
        *oldest = call->next;
        if (call->call != NULL) {
            struct sky_call *ended = call->call;
            settle(transport, call);
            ended->done(ended);
        }
        free(call);
    } while (oldest != NULL);
}

static bool wait_for(struct sky_transport *transport, int wake_fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = wake_fd, .events = POLLIN},
                            {.fd = transport->event_fd, .events = POLLIN}};
    uint64_t events;

    poll(fds, 2, transport->has_ended ? 0 : timeout_ms);
    /* Read before the reports are taken: the event comes when their queue was empty. */
    ssize_t got = read(transport->event_fd, &events, sizeof(events));
    (void)got;
    rd_kafka_poll(transport->producer, 0);
    if (transport->is_purge_due) {
        transport->is_purge_due = false;
        rd_kafka_purge(transport->producer, RD_KAFKA_PURGE_F_QUEUE);
    }
    end_settled(transport);
    return fds[0].revents != 0;
}

static void cancel(struct sky_transport *transport, struct sky_call *call)
{
    struct kafka_call *found = transport->calls;

    while (found->call != call)
        found = found->next;
    rd_kafka_poll(transport->producer, 0);
    settle(transport, found);
    found->call = NULL;
}

const struct sky_transport_ops sky_transport_kafka = {
    .max_batch_bytes = SIZE_MAX,
    .credentials_option = "reporter.kafka.properties",
    .lacks = 1u << SKY_CALL_EVENTS,
    .create = create,
    .start = start,
    .wait = wait_for,
    .cancel = cancel,
    .destroy = destroy,
};

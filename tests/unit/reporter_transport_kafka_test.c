/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka transport under the real sender, against librdkafka's broker for tests, read back by a
 * consumer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reporter/kafka_conf.h"
#include "reporter/log.h"
#include "reporter/reporter.h"
#include "tracing.pb-c.h"

/* Ends a test that has failed. */
#define PATIENCE_MS 30000
#define PRODUCE 0 /* the request's number in Kafka's protocol */

static struct {
    rd_kafka_t *handle; /* owns the brokers */
    rd_kafka_mock_cluster_t *cluster;
    const char *brokers;
    struct sky_reporter *reporter;
    size_t pushed;
} all;

static void begin(const char *const *properties, size_t property_count)
{
    static const char *brokers;
    char error[200];

    memset(&all, 0, sizeof(all));
    all.handle = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof(error));
    assert_non_null(all.handle);
    all.cluster = rd_kafka_mock_cluster_new(all.handle, 1);
    assert_non_null(all.cluster);
    brokers = all.brokers = rd_kafka_mock_cluster_bootstraps(all.cluster);
    const struct sky_reporter_options options = {
        .protocol = SKY_PROTOCOL_KAFKA,
        .backends = &brokers,
        .backend_count = 1,
        .authentication = "",
        .kafka = {.name_space = "shop",
                  .topic_segment = "skywalking-segments",
                  .topic_management = "skywalking-managements",
                  .properties = properties,
                  .property_count = property_count},
        .service = "shop",
        .instance = "shop@host",
        .worker_count = 1,
        .memory_bytes = 8u << 20,
        .batch_bytes = 64u << 10,
        .batch_interval_ms = 20,
        .heartbeat_ms = 3600000,
        .properties_every = 10,
    };
    all.reporter = sky_reporter_new(&options);
    assert_non_null(all.reporter);
    assert_int_equal(sky_reporter_start(all.reporter), 0);
}

static void end(void)
{
    sky_reporter_stop(all.reporter, 0);
    sky_reporter_destroy(all.reporter);
    rd_kafka_mock_cluster_destroy(all.cluster);
    rd_kafka_destroy(all.handle);
}

static void push(size_t count, size_t bytes)
{
    char *text = calloc(1, bytes + 1), id[32];

    memset(text, 'x', bytes);
    while (count-- > 0) {
        int length = snprintf(id, sizeof(id), "segment-%zu", all.pushed++);
        const struct sky_tag tag = {SKY_TEXT("text"), sky_text(text, bytes)};
        const struct sky_span span = {.parent = -1, .tags = &tag, .tag_count = 1};
        const struct sky_segment segment = {.trace_id = SKY_TEXT("trace"),
                                            .segment_id = sky_text(id, (size_t)length),
                                            .service = SKY_TEXT("shop"),
                                            .instance = SKY_TEXT("shop@host"),
                                            .spans = &span,
                                            .span_count = 1};
        sky_reporter_submit(all.reporter, sky_segment_pack(&segment));
    }
    free(text);
    sky_reporter_wake(all.reporter);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_shortly(void)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    nanosleep(&pause, NULL);
}

static struct sky_reporter_counters counters_now(void)
{
    struct sky_reporter_counters counters;

    sky_reporter_counters(all.reporter, &counters);
    return counters;
}

static void wait_for(uint64_t confirmed, uint64_t refused)
{
    int64_t deadline_ms = now_ms() + PATIENCE_MS;
    struct sky_reporter_counters counters;

    do {
        pause_shortly();
        counters = counters_now();
    } while ((counters.confirmed != confirmed || counters.dropped_refused != refused) &&
             now_ms() < deadline_ms);
    assert_int_equal(counters.confirmed, confirmed);
    assert_int_equal(counters.dropped_refused, refused);
}

/* Calls `each` with so many records of a topic from its begin on. */
static void consume(const char *topic, size_t count, void (*each)(const rd_kafka_message_t *record))
{
    char error[200];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set(conf, "bootstrap.servers", all.brokers, error, sizeof(error));
    rd_kafka_conf_set(conf, "group.id", topic, error, sizeof(error));
    rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", error, sizeof(error));
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
    assert_non_null(consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(consumer, topics), 0);
    int64_t deadline_ms = now_ms() + PATIENCE_MS;
    for (size_t seen = 0; seen < count;) {
        assert_true(now_ms() < deadline_ms);
        rd_kafka_message_t *record = rd_kafka_consumer_poll(consumer, 100);
        if (record != NULL && record->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            each(record);
            seen++;
        }
        if (record != NULL)
            rd_kafka_message_destroy(record);
    }
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

static bool has_key(const rd_kafka_message_t *record, const char *key)
{
    return record->key_len == strlen(key) && memcmp(record->key, key, record->key_len) == 0;
}

static void check_segment(const rd_kafka_message_t *record)
{
    Skywalking__V3__SegmentObject *segment =
        skywalking__v3__segment_object__unpack(NULL, record->len, record->payload);

    assert_non_null(segment);
    assert_true(has_key(record, segment->tracesegmentid));
    assert_string_equal(segment->service, "shop");
    skywalking__v3__segment_object__free_unpacked(segment, NULL);
}

static void check_management(const rd_kafka_message_t *record)
{
    assert_true(has_key(record, "register-shop@host") || has_key(record, "shop@host"));
}

static void test_records_with_keys(void **state)
{
    (void)state;
    begin(NULL, 0);
    push(500, 300);
    wait_for(500, 0);
    assert_true(counters_now().connected);
    assert_true(counters_now().bytes_sent > 500 * 300);
    consume("shop-skywalking-segments", 500, check_segment);
    consume("shop-skywalking-managements", 2, check_management);
    end();
}

static void test_too_large_is_refused_alone(void **state)
{
    static const char *const properties[] = {"message.max.bytes=20000"};
    (void)state;
    begin(properties, 1);
    push(20, 100);
    push(1, 30000);
    push(20, 100);
    wait_for(40, 1);
    end();
}

/* librdkafka itself tries again; what it gives up comes back. */
static void test_broker_that_refuses_for_a_while(void **state)
{
    static const char *const properties[] = {"retries=0"};
    (void)state;
    begin(properties, 1);
    push(1, 100);
    wait_for(1, 0);
    rd_kafka_mock_push_request_errors(all.cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR);
    push(50, 100);
    wait_for(51, 0);
    assert_true(counters_now().calls_failed > 0);
    end();
}

static void test_broker_that_is_down(void **state)
{
    static const char *const properties[] = {"reconnect.backoff.max.ms=200",
                                             "message.timeout.ms=1000"};
    (void)state;
    begin(properties, 2);
    push(1, 100);
    wait_for(1, 0);
    rd_kafka_mock_broker_set_down(all.cluster, 1);
    push(50, 100);
    int64_t deadline_ms = now_ms() + PATIENCE_MS;
    while (counters_now().connected && now_ms() < deadline_ms)
        pause_shortly();
    assert_false(counters_now().connected);
    assert_int_equal(counters_now().confirmed, 1);
    rd_kafka_mock_broker_set_up(all.cluster, 1);
    wait_for(51, 0);
    end();
}

static void test_stop_flushes_within_its_deadline(void **state)
{
    (void)state;
    begin(NULL, 0);
    push(500, 300);
    sky_reporter_stop(all.reporter, PATIENCE_MS);
    assert_int_equal(counters_now().confirmed, 500);
    end();
}

static void test_stop_counts_what_is_unsent(void **state)
{
    (void)state;
    begin(NULL, 0);
    rd_kafka_mock_broker_set_down(all.cluster, 1);
    push(500, 300);
    sky_reporter_stop(all.reporter, 200);
    struct sky_reporter_counters counters = counters_now();
    assert_int_equal(counters.confirmed + counters.dropped_stop, 500);
    assert_int_equal(counters.backlog_segments, 0);
    end();
}

static void test_properties(void **state)
{
    static const char *const unknown[] = {"no.such=1"}, *const bad[] = {"linger.ms=never"},
                             *const good[] = {"linger.ms=5", "compression.type=lz4"};
    char error[200] = "";
    (void)state;
    assert_false(sky_kafka_check(&(struct sky_kafka){.properties = unknown, .property_count = 1},
                                 error, sizeof(error)));
    assert_non_null(strstr(error, "no.such: "));
    assert_false(sky_kafka_check(&(struct sky_kafka){.properties = bad, .property_count = 1}, error,
                                 sizeof(error)));
    assert_non_null(strstr(error, "linger.ms: "));
    assert_true(sky_kafka_check(&(struct sky_kafka){.properties = good, .property_count = 2}, error,
                                sizeof(error)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_with_keys),
        cmocka_unit_test(test_too_large_is_refused_alone),
        cmocka_unit_test(test_broker_that_refuses_for_a_while),
        cmocka_unit_test(test_broker_that_is_down),
        cmocka_unit_test(test_stop_flushes_within_its_deadline),
        cmocka_unit_test(test_stop_counts_what_is_unsent),
        cmocka_unit_test(test_properties),
    };
    sky_log_set_level(SKY_LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

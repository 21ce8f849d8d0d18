/* SPDX-License-Identifier: Apache-2.0 */
/* Packs log records, events and meters and reads them back with protobuf-c; their Kafka keys. */
#include "reporter/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event.pb-c.h"
#include "logging.pb-c.h"
#include "meter.pb-c.h"
#include "reporter/kafka_key.h"
#include "reporter/packets.h"

static const struct sky_reported_by by = {{"shop", 4}, {"shop@host", 9}};

/* Takes the packet over. Our bytes are those that protobuf-c makes of the same message. */
static void check_bytes(struct sky_packet *packet, enum sky_packet_kind kind,
                        const ProtobufCMessage *read)
{
    struct sky_packet *again = sky_packet_of(kind, read);

    assert_non_null(again);
    assert_int_equal(packet->kind, kind);
    assert_int_equal(packet->size, again->size);
    assert_memory_equal(packet->data, again->data, again->size);
    free(again);
    free(packet);
}

static void assert_key(enum sky_call_kind kind, const struct sky_packet *packet, const char *want)
{
    char key[SKY_KAFKA_KEY_BYTES];
    size_t len = sky_kafka_key(key, kind, packet);

    assert_int_equal(len, strlen(want));
    assert_memory_equal(key, want, len);
}

static void test_a_log_record_comes_back(void **state)
{
    (void)state;
    const struct sky_tag tags[] = {{SKY_TEXT("level"), SKY_TEXT("WARNING")},
                                   {SKY_TEXT("logger"), SKY_TEXT("shop.cart")}};
    const struct sky_log_record record = {
        .at_ms = 1700000000005,
        .text = SKY_TEXT("stock is low: \xff"),
        .endpoint = SKY_TEXT("GET:/cart"),
        .trace_id = SKY_TEXT("t1"),
        .segment_id = SKY_TEXT("s1"),
        .span_id = 1,
        .tags = tags,
        .tag_count = 2,
    };
    struct sky_packet *packet = sky_log_record_pack(&by, &record);
    assert_non_null(packet);
    Skywalking__V3__LogData *read =
        skywalking__v3__log_data__unpack(NULL, packet->size, packet->data);
    assert_non_null(read);
    assert_int_equal(read->timestamp, 1700000000005);
    assert_string_equal(read->service, "shop");
    assert_string_equal(read->serviceinstance, "shop@host");
    assert_string_equal(read->endpoint, "GET:/cart");
    assert_string_equal(read->body->type, "text");
    assert_string_equal(read->body->text->text, "stock is low: \xef\xbf\xbd");
    assert_string_equal(read->tracecontext->traceid, "t1");
    assert_string_equal(read->tracecontext->tracesegmentid, "s1");
    assert_int_equal(read->tracecontext->spanid, 1);
    assert_int_equal(read->tags->n_data, 2);
    assert_string_equal(read->tags->data[1]->key, "logger");
    assert_string_equal(read->tags->data[1]->value, "shop.cart");
    assert_key(SKY_CALL_LOGS, packet, "s1");
    check_bytes(packet, SKY_PACKET_LOG, &read->base);
    skywalking__v3__log_data__free_unpacked(read, NULL);
}

static void test_a_record_outside_of_a_request_has_no_trace(void **state)
{
    (void)state;
    const struct sky_log_record record = {.at_ms = 1, .text = SKY_TEXT("started")};
    struct sky_packet *packet = sky_log_record_pack(&by, &record);
    assert_non_null(packet);
    Skywalking__V3__LogData *read =
        skywalking__v3__log_data__unpack(NULL, packet->size, packet->data);
    assert_non_null(read);
    assert_null(read->tracecontext);
    assert_string_equal(read->endpoint, "");
    assert_key(SKY_CALL_LOGS, packet, "shop");
    check_bytes(packet, SKY_PACKET_LOG, &read->base);
    skywalking__v3__log_data__free_unpacked(read, NULL);
}

static void test_an_event_comes_back(void **state)
{
    (void)state;
    const struct sky_event event = {
        .uuid = SKY_TEXT("0af7"),
        .name = SKY_TEXT("Start"),
        .message = SKY_TEXT("skystitch serves"),
        .start_ms = 1700000000000,
        .end_ms = 1700000000001,
    };
    struct sky_packet *packet = sky_event_pack(&by, &event);
    assert_non_null(packet);
    Skywalking__V3__Event *read = skywalking__v3__event__unpack(NULL, packet->size, packet->data);
    assert_non_null(read);
    assert_string_equal(read->uuid, "0af7");
    assert_string_equal(read->source->service, "shop");
    assert_string_equal(read->source->serviceinstance, "shop@host");
    assert_string_equal(read->name, "Start");
    assert_int_equal(read->type, SKYWALKING__V3__TYPE__Normal);
    assert_string_equal(read->message, "skystitch serves");
    assert_int_equal(read->starttime, 1700000000000);
    assert_int_equal(read->endtime, 1700000000001);
    assert_string_equal(read->layer, "GENERAL");
    check_bytes(packet, SKY_PACKET_EVENT, &read->base);
    skywalking__v3__event__free_unpacked(read, NULL);
}

static void test_meters_come_back(void **state)
{
    (void)state;
    const struct sky_meter meters[] = {{"cpu", 12.5}, {"idle", 0}, {"small", -0.001}};
    struct sky_packet *packet = sky_meters_pack(&by, 1700000000000, meters, 3);
    assert_non_null(packet);
    Skywalking__V3__MeterDataCollection *read =
        skywalking__v3__meter_data_collection__unpack(NULL, packet->size, packet->data);
    assert_non_null(read);
    assert_int_equal(read->n_meterdata, 3);
    for (size_t i = 0; i < 3; i++) {
        const Skywalking__V3__MeterData *meter = read->meterdata[i];
        assert_string_equal(meter->singlevalue->name, meters[i].name);
        assert_true(meter->singlevalue->value == meters[i].value);
        assert_string_equal(meter->service, "shop");
        assert_string_equal(meter->serviceinstance, "shop@host");
        assert_int_equal(meter->timestamp, 1700000000000);
    }
    assert_key(SKY_CALL_METERS, packet, "shop@host");
    check_bytes(packet, SKY_PACKET_METERS, &read->base);
    skywalking__v3__meter_data_collection__free_unpacked(read, NULL);
}

static void test_a_key_of_any_bytes(void **state)
{
    (void)state;
    char key[SKY_KAFKA_KEY_BYTES];
    const struct sky_log_record record = {
        .at_ms = 1, .text = SKY_TEXT("x"), .trace_id = SKY_TEXT("t"), .segment_id = SKY_TEXT("s")};
    struct sky_packet *packet = sky_log_record_pack(&by, &record);
    assert_non_null(packet);
    uint32_t size = packet->size;
    for (packet->size = 0; packet->size < size; packet->size++)
        assert_in_range(sky_kafka_key(key, SKY_CALL_LOGS, packet), 0, 4);
    for (uint32_t i = 0; i < size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            packet->data[i] ^= (uint8_t)(1u << bit);
            assert_in_range(sky_kafka_key(key, SKY_CALL_LOGS, packet), 0, size);
            packet->data[i] ^= (uint8_t)(1u << bit);
        }
    }
    free(packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_record_comes_back),
        cmocka_unit_test(test_a_record_outside_of_a_request_has_no_trace),
        cmocka_unit_test(test_an_event_comes_back),
        cmocka_unit_test(test_meters_come_back),
        cmocka_unit_test(test_a_key_of_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

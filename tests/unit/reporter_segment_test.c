/* SPDX-License-Identifier: Apache-2.0 */
/* Packs segments and reads them back with protobuf-c. */
#include "reporter/packets.h"
#include "reporter/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "propagation/utf8.h"
#include "tracing.pb-c.h"

typedef Skywalking__V3__SegmentObject segment_t;
typedef Skywalking__V3__SpanObject span_t;

static struct sky_segment segment_of(const struct sky_span *spans, size_t count)
{
    return (struct sky_segment){.trace_id = SKY_TEXT("trace"),
                                .segment_id = SKY_TEXT("segment"),
                                .service = SKY_TEXT("shop"),
                                .instance = SKY_TEXT("shop@host"),
                                .spans = spans,
                                .span_count = count};
}

/* Also holds our bytes against those that protobuf-c makes of the same message. */
static segment_t *pack_and_read(const struct sky_segment *segment)
{
    struct sky_packet *packet = sky_segment_pack(segment);
    assert_non_null(packet);
    segment_t *read = skywalking__v3__segment_object__unpack(NULL, packet->size, packet->data);
    assert_non_null(read);
    struct sky_packet *again = sky_packet_of(SKY_PACKET_SEGMENT, &read->base);
    assert_non_null(again);
    assert_int_equal(packet->size, again->size);
    assert_memory_equal(packet->data, again->data, again->size);
    free(again);
    free(packet);
    return read;
}

static void free_segment(segment_t *segment)
{
    skywalking__v3__segment_object__free_unpacked(segment, NULL);
}

static void test_every_field_comes_back(void **state)
{
    (void)state;
    const struct sky_tag tags[] = {{SKY_TEXT("http.method"), SKY_TEXT("GET")},
                                   {SKY_TEXT("http.status_code"), SKY_TEXT("500")}};
    const struct sky_tag data[] = {{SKY_TEXT("event"), SKY_TEXT("error")},
                                   {SKY_TEXT("message"), SKY_TEXT("boom")}};
    const struct sky_span_log logs[] = {{1700000000005, data, 2}, {1700000000006, NULL, 0}};
    const struct sky_ref refs[] = {{.type = SKY_REF_CROSS_THREAD,
                                    .trace_id = SKY_TEXT("t0"),
                                    .segment_id = SKY_TEXT("s0"),
                                    .span_id = 3,
                                    .service = SKY_TEXT("web"),
                                    .instance = SKY_TEXT("web@host"),
                                    .endpoint = SKY_TEXT("GET:/"),
                                    .address = SKY_TEXT("10.0.0.2:80")}};
    const struct sky_span spans[] = {{.id = 0,
                                      .parent = -1,
                                      .start_ms = 1700000000000,
                                      .end_ms = 1700000000010,
                                      .operation = SKY_TEXT("GET:/items/<int:id>"),
                                      .type = SKY_SPAN_ENTRY,
                                      .layer = SKY_LAYER_HTTP,
                                      .component = 7001,
                                      .error = true,
                                      .tags = tags,
                                      .tag_count = 2,
                                      .logs = logs,
                                      .log_count = 2,
                                      .refs = refs,
                                      .ref_count = 1},
                                     {.id = 1,
                                      .parent = 0,
                                      .operation = SKY_TEXT("/stock"),
                                      .peer = SKY_TEXT("stock:8000"),
                                      .type = SKY_SPAN_EXIT,
                                      .skip_analysis = true}};
    struct sky_segment segment = segment_of(spans, 2);
    segment.size_limited = true;
    segment_t *read = pack_and_read(&segment);

    assert_string_equal(read->traceid, "trace");
    assert_string_equal(read->tracesegmentid, "segment");
    assert_string_equal(read->service, "shop");
    assert_string_equal(read->serviceinstance, "shop@host");
    assert_true(read->issizelimited);
    assert_int_equal(read->n_spans, 2);
    span_t *entry = read->spans[0];
    assert_int_equal(entry->spanid, 0);
    assert_int_equal(entry->parentspanid, -1);
    assert_int_equal(entry->starttime, 1700000000000);
    assert_int_equal(entry->endtime, 1700000000010);
    assert_string_equal(entry->operationname, "GET:/items/<int:id>");
    assert_int_equal(entry->spantype, SKYWALKING__V3__SPAN_TYPE__Entry);
    assert_int_equal(entry->spanlayer, SKYWALKING__V3__SPAN_LAYER__Http);
    assert_int_equal(entry->componentid, 7001);
    assert_true(entry->iserror);
    assert_false(entry->skipanalysis);
    assert_int_equal(entry->n_tags, 2);
    assert_string_equal(entry->tags[0]->key, "http.method");
    assert_string_equal(entry->tags[1]->value, "500");
    assert_int_equal(entry->n_logs, 2);
    assert_int_equal(entry->logs[0]->time, 1700000000005);
    assert_int_equal(entry->logs[0]->n_data, 2);
    assert_string_equal(entry->logs[0]->data[1]->value, "boom");
    assert_int_equal(entry->logs[1]->n_data, 0);
    assert_int_equal(entry->n_refs, 1);
    assert_int_equal(entry->refs[0]->reftype, SKYWALKING__V3__REF_TYPE__CrossThread);
    assert_string_equal(entry->refs[0]->traceid, "t0");
    assert_string_equal(entry->refs[0]->parenttracesegmentid, "s0");
    assert_int_equal(entry->refs[0]->parentspanid, 3);
    assert_string_equal(entry->refs[0]->parentservice, "web");
    assert_string_equal(entry->refs[0]->parentserviceinstance, "web@host");
    assert_string_equal(entry->refs[0]->parentendpoint, "GET:/");
    assert_string_equal(entry->refs[0]->networkaddressusedatpeer, "10.0.0.2:80");
    assert_int_equal(read->spans[1]->parentspanid, 0);
    assert_string_equal(read->spans[1]->peer, "stock:8000");
    assert_int_equal(read->spans[1]->spantype, SKYWALKING__V3__SPAN_TYPE__Exit);
    assert_true(read->spans[1]->skipanalysis);
    assert_int_equal(read->spans[1]->n_tags, 0);
    free_segment(read);
}

/* The bytes themselves, so that both directions cannot be wrong alike. */
static void test_bytes_on_the_wire(void **state)
{
    (void)state;
    const struct sky_span span = {.parent = -1, .operation = SKY_TEXT("/x")};
    const struct sky_segment segment = {
        .trace_id = SKY_TEXT("t"), .segment_id = SKY_TEXT("s"), .spans = &span, .span_count = 1};
    static const uint8_t expected[] = {
        0x0a, 1,    't',  0x12, 1,    's',  0x1a, 15,   0x10, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x32, 2,    '/',  'x',
    };
    struct sky_packet *packet = sky_segment_pack(&segment);

    assert_non_null(packet);
    assert_int_equal(packet->size, sizeof(expected));
    assert_memory_equal(packet->data, expected, sizeof(expected));
    free(packet);
}

/* A foreign byte at each place of strings of each length around the word-wise fast path. */
static void test_strings_become_valid(void **state)
{
    (void)state;
    static const unsigned char odd[] = {0x00, 0x80, 0xc3, 0xff};
    char text[40];

    for (size_t length = 1; length <= sizeof(text); length++) {
        for (size_t at = 0; at < length; at++) {
            for (size_t i = 0; i < sizeof(odd); i++) {
                memset(text, 'a', sizeof(text));
                text[at] = (char)odd[i];
                const struct sky_tag tag = {SKY_TEXT("k"), sky_text(text, length)};
                const struct sky_span span = {.parent = -1, .tags = &tag, .tag_count = 1};
                const struct sky_segment segment = segment_of(&span, 1);
                segment_t *read = pack_and_read(&segment);
                const char *value = read->spans[0]->tags[0]->value;
                size_t expected = length - 1 + (odd[i] != 0 ? 3 : 0);
                assert_int_equal(strlen(value), expected);
                assert_true(sky_utf8_valid(sky_text_of(value)));
                free_segment(read);
            }
        }
    }
}

/* Each byte becomes three: the arena has room for all of them, on the stack and on the heap. */
static void test_nothing_is_valid(void **state)
{
    (void)state;
    char text[20000];

    memset(text, 0xff, sizeof(text));
    for (size_t length = 1; length <= sizeof(text); length = length * 3 / 2 + 1) {
        const struct sky_tag tag = {sky_text(text, length), sky_text(text, length)};
        const struct sky_span span = {.parent = -1, .tags = &tag, .tag_count = 1};
        const struct sky_segment segment = segment_of(&span, 1);
        segment_t *read = pack_and_read(&segment);
        assert_int_equal(strlen(read->spans[0]->tags[0]->key), 3 * length);
        assert_int_equal(strlen(read->spans[0]->tags[0]->value), 3 * length);
        free_segment(read);
    }
}

static void test_good_utf8_is_kept(void **state)
{
    (void)state;
    const struct sky_span span = {.parent = -1,
                                  .operation = SKY_TEXT("/caf\xc3\xa9/\xf0\x9f\x90\x8d")};
    const struct sky_segment segment = segment_of(&span, 1);
    segment_t *read = pack_and_read(&segment);

    assert_string_equal(read->spans[0]->operationname, "/caf\xc3\xa9/\xf0\x9f\x90\x8d");
    free_segment(read);
}

static void test_long_names_are_cut_between_characters(void **state)
{
    (void)state;
    char text[400];
    for (size_t i = 0; i < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    const struct sky_span span = {
        .parent = -1, .operation = sky_text(text, sizeof(text)), .peer = {"x", 1}};
    struct sky_span longer = span;
    longer.peer = sky_text(text, sizeof(text));
    const struct sky_segment segment = segment_of(&longer, 1);
    segment_t *read = pack_and_read(&segment);

    assert_int_equal(strlen(read->spans[0]->operationname), 150);
    assert_int_equal(strlen(read->spans[0]->peer), 200);
    assert_true(sky_utf8_valid(sky_text_of(read->spans[0]->operationname)));
    free_segment(read);
}

static void test_segments_that_oap_would_not_store_are_refused(void **state)
{
    (void)state;
    const struct sky_span span = {.id = 1, .parent = 0};
    struct sky_segment segment = segment_of(&span, 1);

    assert_null(sky_segment_pack(&segment));
    segment = segment_of(NULL, 0);
    assert_null(sky_segment_pack(&segment));
}

/* One byte decides; the arena is on the heap by then. */
static void test_limit_of_the_size(void **state)
{
    (void)state;
    size_t size = 3u << 20;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'a', size);
    struct sky_tag tag = {SKY_TEXT("k"), sky_text(text, size / 2)};
    const struct sky_span span = {.parent = -1, .tags = &tag, .tag_count = 1};
    const struct sky_segment segment = segment_of(&span, 1);
    struct sky_packet *packet = sky_segment_pack(&segment);
    assert_non_null(packet);
    size_t overhead = packet->size - size / 2;
    free(packet);

    /* Lengths from 2 MiB on take one byte more in each of three places that hold them. */
    tag.value.len = size - overhead - 3;
    for (packet = NULL; tag.value.len < size; tag.value.len++) {
        free(packet);
        packet = sky_segment_pack(&segment);
        if (packet == NULL)
            break;
        assert_true(packet->size <= size);
    }
    assert_null(packet);
    tag.value.len--;
    packet = sky_segment_pack(&segment);
    assert_non_null(packet);
    assert_int_equal(packet->size, size);
    free(packet);
    free(text);
}

static void test_many_spans(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct sky_span spans[COUNT];
    const struct sky_tag tag = {SKY_TEXT("k"), SKY_TEXT("\xff")};

    for (int i = 0; i < COUNT; i++)
        spans[i] = (struct sky_span){.id = i, .parent = i - 1, .tags = &tag, .tag_count = 1};
    const struct sky_segment segment = segment_of(spans, COUNT);
    segment_t *read = pack_and_read(&segment);
    assert_int_equal(read->n_spans, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(read->spans[i]->spanid, i);
        assert_string_equal(read->spans[i]->tags[0]->value, "\xef\xbf\xbd");
    }
    free_segment(read);
}

/* Arrays of each small length, so that every alignment of the arena occurs. */
static void test_every_shape_fits_the_arena(void **state)
{
    (void)state;
    const struct sky_tag tags[] = {{SKY_TEXT("a"), SKY_TEXT("\xff\xff")}, {{NULL, 0}, {NULL, 0}}};
    const struct sky_span_log logs[] = {{1, tags, 1}, {2, tags, 2}};
    const struct sky_ref refs[] = {{.service = SKY_TEXT("\xff")}, {.span_id = 1}};

    for (unsigned shape = 0; shape < 27; shape++) {
        const struct sky_span span = {.parent = -1,
                                      .tags = tags,
                                      .tag_count = shape % 3,
                                      .logs = logs,
                                      .log_count = shape / 3 % 3,
                                      .refs = refs,
                                      .ref_count = shape / 9};
        const struct sky_span spans[] = {span, span, span};
        for (size_t count = 1; count <= 3; count++) {
            const struct sky_segment segment = segment_of(spans, count);
            segment_t *read = pack_and_read(&segment);
            assert_int_equal(read->n_spans, count);
            assert_int_equal(read->spans[count - 1]->n_tags, shape % 3);
            assert_int_equal(read->spans[count - 1]->n_logs, shape / 3 % 3);
            assert_int_equal(read->spans[count - 1]->n_refs, shape / 9);
            free_segment(read);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_comes_back),
        cmocka_unit_test(test_bytes_on_the_wire),
        cmocka_unit_test(test_strings_become_valid),
        cmocka_unit_test(test_nothing_is_valid),
        cmocka_unit_test(test_good_utf8_is_kept),
        cmocka_unit_test(test_long_names_are_cut_between_characters),
        cmocka_unit_test(test_segments_that_oap_would_not_store_are_refused),
        cmocka_unit_test(test_limit_of_the_size),
        cmocka_unit_test(test_many_spans),
        cmocka_unit_test(test_every_shape_fits_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

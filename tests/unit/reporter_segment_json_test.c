/* SPDX-License-Identifier: Apache-2.0 */
/* Both directions of the JSON mapping. */
#include "reporter/segment_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "reporter/proto_json.h"
#include "tests/fuzz/corpus.h"
#include "tests/unit/exact.h"
#include "tracing.pb-c.h"

#define HEAD "{\"traceId\":\"t\",\"traceSegmentId\":\"s\","
#define SMALLEST HEAD "\"spans\":[{}]}"

static char error[128];

static bool read_json(const char *text, size_t length, struct sky_packets *segments)
{
    struct sky_text body = exact_copy(text, length);

    error[0] = '\0';
    bool is_read = sky_segments_from_json(body, segments, error, sizeof(error));
    exact_free(body);
    return is_read;
}

static Skywalking__V3__SegmentObject *read_one(const char *text)
{
    struct sky_packets segments = {0};

    if (!read_json(text, strlen(text), &segments))
        fail_msg("%s: %s", text, error);
    assert_int_equal(segments.count, 1);
    Skywalking__V3__SegmentObject *segment =
        skywalking__v3__segment_object__unpack(NULL, segments.first->size, segments.first->data);
    sky_packets_free(&segments);
    assert_non_null(segment);
    return segment;
}

static void free_segment(Skywalking__V3__SegmentObject *segment)
{
    skywalking__v3__segment_object__free_unpacked(segment, NULL);
}

static void assert_refused(const char *text, const char *why)
{
    struct sky_packets segments = {0};

    assert_false(read_json(text, strlen(text), &segments));
    assert_int_equal(segments.count, 0);
    if (strstr(error, why) == NULL)
        fail_msg("%s: \"%s\" is not in \"%s\"", text, why, error);
}

static void test_every_field(void **state)
{
    (void)state;
    Skywalking__V3__SegmentObject *segment = read_one(
        "[{\"traceId\":\"t\",\"traceSegmentId\":\"s\",\"service\":\"shop\",\"serviceInstance\":"
        "\"i\",\"isSizeLimited\":true,\"spans\":[{\"spanId\":0,\"parentSpanId\":-1,\"startTime\":"
        "1700000000000,\"endTime\":\"1700000000001\",\"operationName\":\"GET:/caf\\u00e9\","
        "\"peer\":\"p\",\"spanType\":\"Exit\",\"spanLayer\":\"Http\",\"componentId\":7001,"
        "\"isError\":true,\"skipAnalysis\":true,\"tags\":[{\"key\":\"k\",\"value\":\"v\"}],"
        "\"logs\":[{\"time\":5,\"data\":[{\"key\":\"event\",\"value\":\"error\"}]}],\"refs\":[{"
        "\"refType\":\"CrossThread\",\"traceId\":\"a\",\"parentTraceSegmentId\":\"b\","
        "\"parentSpanId\":2,\"parentService\":\"c\",\"parentServiceInstance\":\"d\","
        "\"parentEndpoint\":\"e\",\"networkAddressUsedAtPeer\":\"f\"}]}]}]");
    Skywalking__V3__SpanObject *span = segment->spans[0];
    Skywalking__V3__SegmentReference *ref = span->refs[0];

    assert_string_equal(segment->service, "shop");
    assert_string_equal(segment->serviceinstance, "i");
    assert_true(segment->issizelimited);
    assert_int_equal(span->parentspanid, -1);
    assert_int_equal(span->starttime, 1700000000000);
    assert_int_equal(span->endtime, 1700000000001);
    assert_string_equal(span->operationname, "GET:/caf\xc3\xa9");
    assert_string_equal(span->peer, "p");
    assert_int_equal(span->spantype, SKYWALKING__V3__SPAN_TYPE__Exit);
    assert_int_equal(span->spanlayer, SKYWALKING__V3__SPAN_LAYER__Http);
    assert_int_equal(span->componentid, 7001);
    assert_true(span->iserror && span->skipanalysis);
    assert_string_equal(span->tags[0]->value, "v");
    assert_int_equal(span->logs[0]->time, 5);
    assert_string_equal(span->logs[0]->data[0]->key, "event");
    assert_int_equal(ref->reftype, SKYWALKING__V3__REF_TYPE__CrossThread);
    assert_string_equal(ref->traceid, "a");
    assert_string_equal(ref->parenttracesegmentid, "b");
    assert_int_equal(ref->parentspanid, 2);
    assert_string_equal(ref->parentservice, "c");
    assert_string_equal(ref->parentserviceinstance, "d");
    assert_string_equal(ref->parentendpoint, "e");
    assert_string_equal(ref->networkaddressusedatpeer, "f");
    free_segment(segment);
}

/* What OAP's own parser takes. */
static void test_lenient_values(void **state)
{
    (void)state;
    Skywalking__V3__SegmentObject *segment = read_one(
        " [ " HEAD "\"service\":null,\"other\":{\"x\":[1]},\"spans\":[{\"startTime\":1.6e12,"
        "\"endTime\":\"-9223372036854775808\",\"spanType\":2,\"spanLayer\":99,\"tags\":null},"
        "{\"spanId\":\"7\",\"spanType\":\"Nonsense\",\"spanLayer\":\"GenAI\"}]} ] \n");

    assert_string_equal(segment->service, "");
    assert_int_equal(segment->spans[0]->starttime, 1600000000000);
    assert_int_equal(segment->spans[0]->endtime, INT64_MIN);
    assert_int_equal(segment->spans[0]->spantype, SKYWALKING__V3__SPAN_TYPE__Local);
    assert_int_equal(segment->spans[0]->spanlayer, 99);
    assert_int_equal(segment->spans[1]->spanid, 7);
    assert_int_equal(segment->spans[1]->spantype, SKYWALKING__V3__SPAN_TYPE__Entry);
    assert_int_equal(segment->spans[1]->spanlayer, SKYWALKING__V3__SPAN_LAYER__GenAI);
    free_segment(segment);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "an array of segments is wanted"},
        {"  ", "an array of segments is wanted"},
        {"{\"traceId\":\"t\"}", "an array of segments is wanted"},
        {"[", "segment 0: "},
        {"[1]", "segment 0: "},
        {"[[]]", "segment 0: an object is wanted"},
        {"[" SMALLEST, "no comma or ] after segment 0"},
        {"[" SMALLEST ",]", "segment 1: "},
        {"[" SMALLEST " " SMALLEST "]", "no comma or ] after segment 0"},
        {"[" SMALLEST "] x", "something follows the array"},
        {"[" SMALLEST ",{\"traceSegmentId\":\"s\",\"spans\":[{}]}]", "segment 1: no traceId"},
        {"[{\"traceId\":\"t\",\"spans\":[{}]}]", "segment 0: no traceSegmentId"},
        {"[" HEAD "\"spans\":[]}]", "segment 0: no span with spanId 0"},
        {"[" HEAD "\"spans\":[{\"spanId\":1}]}]", "segment 0: no span with spanId 0"},
        {"[" HEAD "\"spans\":{}}]", "segment 0: spans: an array is wanted"},
        {"[" HEAD "\"spans\":[1]}]", "segment 0: spans: an object is wanted"},
        {"[" HEAD "\"spans\":[{\"spanId\":0.5}]}]", "spanId: a whole number of 32 bits"},
        {"[" HEAD "\"spans\":[{\"spanId\":2147483648}]}]", "spanId: a whole number of 32 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":\"1x\"}]}]", "startTime: a whole number of 64 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":\" 1\"}]}]", "startTime: a whole number of 64 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":\"-\"}]}]", "startTime: a whole number of 64 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":\"\"}]}]", "startTime: a whole number of 64 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":1e300}]}]", "startTime: a whole number of 64 bits"},
        {"[" HEAD "\"spans\":[{\"startTime\":\"9223372036854775808\"}]}]", "startTime: a whole"},
        {"[" HEAD "\"spans\":[{\"isError\":\"true\"}]}]", "isError: true or false is wanted"},
        {"[" HEAD "\"spans\":[{\"peer\":1}]}]", "peer: a string is wanted"},
        {"[" HEAD "\"spans\":[{\"spanLayer\":{}}]}]", "spanLayer: a name or number"},
        {"[" HEAD "\"spans\":[{\"tags\":[{\"key\":\"a\\u0000\"}]}]}]", "segment 0: line 1"},
        {"[" HEAD "\"spans\":[{\"peer\":\"\xff\"}]}]", "segment 0: line 1"},
        {"[" HEAD "\"spans\":[{\"tags\":[{\"key\":\"a\"},{\"value\":[]}]}]}]", "value: a string"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i][0], cases[i][1]);
}

/* Cut at every byte: refused, with a reason, and nothing read beyond the end. */
static void test_cut_bodies(void **state)
{
    (void)state;
    static const char whole[] = "[" HEAD "\"spans\":[{\"spanId\":0,\"tags\":[{\"key\":\"a\\\"b\","
                                "\"value\":\"c\"}]}]}," SMALLEST "]";
    struct sky_packets segments = {0};

    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        assert_false(read_json(whole, length, &segments));
        assert_int_equal(segments.count, 0);
        assert_true(error[0] != '\0');
    }
    assert_true(read_json(whole, sizeof(whole) - 1, &segments));
    assert_int_equal(segments.count, 2);
    sky_packets_free(&segments);
}

static char *repeat(const char *head, const char *piece, size_t count, const char *tail)
{
    size_t length = strlen(piece);
    char *text = malloc(strlen(head) + count * length + strlen(tail) + 1);

    assert_non_null(text);
    char *end = stpcpy(text, head);
    for (size_t i = 0; i < count; i++)
        end = stpcpy(end, piece);
    strcpy(end, tail);
    return text;
}

static void test_bounds(void **state)
{
    (void)state;
    char *text = repeat("[", " ", 10u << 20, "]");
    assert_refused(text, "the body is larger than 10 MiB");
    free(text);

    text = repeat("[", "[", 5000, "");
    assert_refused(text, "segment 0: ");
    free(text);

    text = repeat("[" HEAD "\"spans\":[{}", ",{}", 99997, "]}]");
    free_segment(read_one(text));
    free(text);
    text = repeat("[" HEAD "\"spans\":[{}", ",{}", 101000, "]}]");
    assert_refused(text, "segment 0: more than 100000 objects and arrays");
    free(text);

    /* Braces in strings are text. */
    text = repeat("[" HEAD "\"spans\":[{\"peer\":\"", "{[\\\"", 60000, "\"}]}]");
    free_segment(read_one(text));
    free(text);

    text = repeat("[" HEAD "\"spans\":[{\"peer\":\"", "xxxxxxxx", 400000, "\"}]}]");
    assert_refused(text, "segment 0: larger than 3 MiB");
    free(text);
}

static void test_empty_array(void **state)
{
    (void)state;
    struct sky_packets segments = {0};

    assert_true(read_json(" [ ] ", 5, &segments));
    assert_int_equal(segments.count, 0);
}

static void test_written_text(void **state)
{
    (void)state;
    struct sky_json_text json = {0};
    Skywalking__V3__SegmentObject *segment = read_one(
        "[" HEAD "\"spans\":[{\"parentSpanId\":-1,\"startTime\":1700000000000,\"spanLayer\""
        ":99,\"isError\":true,\"tags\":[{\"key\":\"\\\"\\\\\\n\\u0001\\u007f/"
        "\",\"value\":\"\xc3\xa9\"},{}]}]}]");

    sky_proto_to_json(&json, &segment->base);
    char *text = sky_json_take(&json);
    assert_string_equal(
        text, HEAD "\"spans\":[{\"spanId\":0,\"parentSpanId\":-1,\"startTime\":1700000000000,"
                   "\"endTime\":0,\"refs\":[],\"operationName\":\"\",\"peer\":\"\",\"spanType\":"
                   "\"Entry\",\"spanLayer\":99,\"componentId\":0,\"isError\":true,\"tags\":[{"
                   "\"key\":\"\\\"\\\\\\n\\u0001\x7f/\",\"value\":\"\xc3\xa9\"},{\"key\":\"\","
                   "\"value\":\"\"}],\"logs\":[],\"skipAnalysis\":false}],\"service\":\"\","
                   "\"serviceInstance\":\"\",\"isSizeLimited\":false}");
    free(text);
    free_segment(segment);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("segment_json") >= 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),  cmocka_unit_test(test_lenient_values),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_cut_bodies),
        cmocka_unit_test(test_bounds),       cmocka_unit_test(test_empty_array),
        cmocka_unit_test(test_written_text), cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

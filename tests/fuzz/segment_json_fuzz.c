/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of POST /v3/segments: what is accepted must come out of the mapping as it went in. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reporter/json_text.h"
#include "reporter/proto_json.h"
#include "reporter/segment_json.h"
#include "tracing.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_json(const struct sky_packets *segments)
{
    struct sky_json_text json = {0};

    sky_json_raw(&json, SKY_TEXT("["));
    for (const struct sky_packet *packet = segments->first; packet != NULL; packet = packet->next) {
        Skywalking__V3__SegmentObject *segment =
            skywalking__v3__segment_object__unpack(NULL, packet->size, packet->data);
        assert(segment != NULL);
        sky_json_comma(&json);
        sky_proto_to_json(&json, &segment->base);
        skywalking__v3__segment_object__free_unpacked(segment, NULL);
    }
    sky_json_raw(&json, SKY_TEXT("]"));
    char *text = sky_json_take(&json);
    assert(text != NULL);
    return text;
}

static void assert_same(const struct sky_packets *a, const struct sky_packets *b)
{
    const struct sky_packet *x = a->first, *y = b->first;

    for (; x != NULL && y != NULL; x = x->next, y = y->next)
        assert(x->size == y->size && memcmp(x->data, y->data, x->size) == 0);
    assert(x == NULL && y == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_packets segments = {0}, again = {0};
    char error[64];

    if (!sky_segments_from_json(sky_text((const char *)data, size), &segments, error,
                                sizeof(error))) {
        assert(segments.count == 0 && memchr(error, '\0', sizeof(error)) != NULL);
        assert(error[0] != '\0');
        return 0;
    }
    char *text = write_json(&segments);
    bool is_read = sky_segments_from_json(sky_text_of(text), &again, error, sizeof(error));
    assert(is_read);
    assert_same(&segments, &again);
    sky_packets_free(&segments);
    sky_packets_free(&again);
    free(text);
    return 0;
}

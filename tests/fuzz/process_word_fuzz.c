/* SPDX-License-Identifier: Apache-2.0 */
/* What a process says of itself, up to the packed log records: whatever comes in, what goes out is
 * bounded and valid UTF-8. */
#include <stdlib.h>

#include "logging.pb-c.h"
#include "propagation/utf8.h"
#include "proxy/process/process_word.h"
#include "proxy/stitch/stitch_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_string(const char *string)
{
    require(sky_utf8_valid(sky_text_of(string)));
}

static void check_packed(const struct sky_log_record *record)
{
    const struct sky_reported_by by = {{"shop", 4}, {"shop-1", 6}};
    struct sky_packet *packet = sky_log_record_pack(&by, record);

    require(packet != NULL);
    Skywalking__V3__LogData *read =
        skywalking__v3__log_data__unpack(NULL, packet->size, packet->data);
    require(read != NULL);
    check_string(read->endpoint);
    check_string(read->body->text->text);
    for (size_t i = 0; i < read->tags->n_data; i++) {
        check_string(read->tags->data[i]->key);
        check_string(read->tags->data[i]->value);
    }
    skywalking__v3__log_data__free_unpacked(read, NULL);
    free(packet);
}

static void check_word(const struct sky_process_word *word)
{
    const struct sky_process_meters *meters = &word->meters;
    struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS], property;
    struct sky_log_record record;

    require(word->process.len > 0 && word->process.len <= SKY_PROCESS_ID_BYTES);
    require(meters->cpu_us >= 0 && meters->rss_bytes >= 0 && meters->threads >= 0);
    require(meters->gc_us >= 0 && meters->gc_collected[0] >= 0);
    for (size_t i = 0; i < SKY_PROCESS_MAX_PROPERTIES; i++) {
        if (sky_process_property(word, i, &property))
            require(property.key.len > 0 && property.key.len <= SKY_PROCESS_PROPERTY_BYTES &&
                    property.value.len <= SKY_PROCESS_PROPERTY_BYTES);
    }
    for (size_t i = 0; i < sky_process_log_count(word); i++) {
        if (!sky_process_log(word, i, tags, &record))
            continue;
        require(record.at_ms >= 0 && record.span_id >= 0);
        require(record.tag_count <= SKY_PROCESS_MAX_LOG_TAGS);
        check_packed(&record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_stitch_message message;
    struct sky_process_word word;

    switch (sky_stitch_message_read(sky_text((const char *)data, size), &message)) {
    case SKY_STITCH_MESSAGE_PROCESS:
        if (sky_process_word_read(message.root, &word))
            check_word(&word);
        break;
    case SKY_STITCH_MESSAGE_OK:
    case SKY_STITCH_MESSAGE_OWN:
        break;
    case SKY_STITCH_MESSAGE_BAD:
    case SKY_STITCH_MESSAGE_VERSION:
        return 0;
    }
    sky_stitch_message_fini(&message);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/process/process_word.h"

#include <jansson.h>
#include <string.h>

/* Of a total, and of a time since 1970 in microseconds: nothing comes near, and a double is exact
 * up to here. */
#define MAX_TOTAL INT64_C(9000000000000000)

static struct sky_text text_of(const json_t *value)
{
    return sky_text(json_is_string(value) ? json_string_value(value) : "",
                    json_string_length(value));
}

static int64_t read_total(const json_t *value)
{
    double number = json_number_value(value); /* 0 for what is no number */

    if (!(number > 0))
        return 0;
    return number < (double)MAX_TOTAL ? (int64_t)number : MAX_TOTAL;
}

static void read_meters(const json_t *object, struct sky_process_meters *meters)
{
    const json_t *collected = json_object_get(object, "gc_collected");

    meters->cpu_us = read_total(json_object_get(object, "cpu_us"));
    meters->rss_bytes = read_total(json_object_get(object, "rss_bytes"));
    meters->threads = read_total(json_object_get(object, "threads"));
    meters->gc_us = read_total(json_object_get(object, "gc_us"));
    for (size_t i = 0; i < 3; i++)
        meters->gc_collected[i] = read_total(json_array_get(collected, i));
}

bool sky_process_word_read(const json_t *root, struct sky_process_word *word)
{
    const json_t *meters = json_object_get(root, "meters");

    *word = (struct sky_process_word){.process = text_of(json_object_get(root, "process"))};
    if (word->process.len == 0 || word->process.len > SKY_PROCESS_ID_BYTES)
        return false;
    word->request = text_of(json_object_get(root, "request"));
    word->properties = json_object_get(root, "properties");
    word->logs = json_object_get(root, "logs");
    word->has_meters = json_is_object(meters);
    if (word->has_meters)
        read_meters(meters, &word->meters);
    int64_t lost = read_total(json_object_get(root, "lost_logs"));
    word->lost_logs = lost < UINT32_MAX ? (uint32_t)lost : UINT32_MAX;
    return true;
}

static bool read_pair(const json_t *pair, struct sky_tag *tag)
{
    const json_t *value = json_array_get(pair, 1);

    *tag = (struct sky_tag){text_of(json_array_get(pair, 0)), text_of(value)};
    return tag->key.len != 0 && json_is_string(value);
}

static bool is_property_text(struct sky_text text)
{
    return text.len <= SKY_PROCESS_PROPERTY_BYTES && memchr(text.base, '\0', text.len) == NULL;
}

bool sky_process_property(const struct sky_process_word *word, size_t i, struct sky_tag *property)
{
    return read_pair(json_array_get(word->properties, i), property) &&
           is_property_text(property->key) && is_property_text(property->value);
}

size_t sky_process_log_count(const struct sky_process_word *word)
{
    size_t count = json_array_size(word->logs);

    return count < SKY_PROCESS_MAX_LOGS ? count : SKY_PROCESS_MAX_LOGS;
}

bool sky_process_log(const struct sky_process_word *word, size_t i,
                     struct sky_tag tags[SKY_PROCESS_MAX_LOG_TAGS], struct sky_log_record *record)
{
    const json_t *object = json_array_get(word->logs, i), *text = json_object_get(object, "text");
    const json_t *pairs = json_object_get(object, "tags");

    if (!json_is_string(text))
        return false;
    *record = (struct sky_log_record){
        .at_ms = read_total(json_object_get(object, "at")) / 1000,
        .text = text_of(text),
        .endpoint = text_of(json_object_get(object, "operation")),
        .trace_id = text_of(json_object_get(object, "trace")),
        .segment_id = text_of(json_object_get(object, "segment")),
        .tags = tags,
    };
    int64_t span = read_total(json_object_get(object, "span"));
    record->span_id = span < INT32_MAX ? (int32_t)span : INT32_MAX;
    for (size_t k = 0; k < json_array_size(pairs) && record->tag_count < SKY_PROCESS_MAX_LOG_TAGS;
         k++)
        record->tag_count += read_pair(json_array_get(pairs, k), &tags[record->tag_count]);
    return true;
}

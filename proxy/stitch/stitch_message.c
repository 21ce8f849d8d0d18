/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/stitch/stitch_message.h"

#include <jansson.h>

/* Nothing a request does takes 31 years; sums with a time of day cannot overflow. */
#define MAX_TIME_US INT64_C(1000000000000000)
/* component-libraries.yml ends far below. */
#define MAX_COMPONENT 999999

/* Where a message is copied to. */
struct sink {
    h2o_mem_pool_t *pool;
    struct sky_stitch_taken *taken;
};

static void *sink_alloc(struct sink *sink, size_t size)
{
    sink->taken->bytes += (size + 15) / 16 * 16; /* as the pool rounds */
    return h2o_mem_alloc_pool(sink->pool, size);
}

/* How many of an array's elements are read. */
static size_t sink_count(struct sink *sink, const json_t *array, size_t max)
{
    size_t count = json_array_size(array);
    if (count <= max)
        return count;
    sink->taken->limited = true;
    return max;
}

/* A string without the NULs that JSON may hold and protobuf's readers may not; else empty. */
static struct sky_text sink_text(struct sink *sink, const json_t *value)
{
    size_t size = json_string_length(value);
    if (size == 0)
        return sky_text(NULL, 0);
    const char *from = json_string_value(value);
    char *to = sink_alloc(sink, size);
    size_t len = 0;
    for (size_t i = 0; i < size; i++) {
        if (from[i] != '\0')
            to[len++] = from[i];
    }
    return sky_text(to, len);
}

/* A number within bounds, or the fallback for anything that is no number. Reals are taken since
 * other languages' JSON writes 5.0 for 5. */
static int64_t read_number(const json_t *value, int64_t min, int64_t max, int64_t fallback)
{
    if (json_is_integer(value)) {
        int64_t n = json_integer_value(value);
        return n < min ? min : n > max ? max : n;
    }
    if (json_is_real(value)) {
        double n = json_real_value(value);
        return n < (double)min ? min : n > (double)max ? max : (int64_t)n;
    }
    return fallback;
}

static int64_t read_time(const json_t *object, const char *key, int64_t fallback)
{
    return read_number(json_object_get(object, key), -MAX_TIME_US, MAX_TIME_US, fallback);
}

static int32_t read_component(const json_t *object)
{
    int64_t component = read_number(json_object_get(object, "component"), -1, MAX_COMPONENT + 1, 0);
    return component < 0 || component > MAX_COMPONENT ? 0 : (int32_t)component;
}

static enum sky_span_type read_type(const json_t *value)
{
    const char *type = json_string_value(value);
    if (type != NULL && strcmp(type, "entry") == 0)
        return SKY_SPAN_ENTRY;
    return type != NULL && strcmp(type, "exit") == 0 ? SKY_SPAN_EXIT : SKY_SPAN_LOCAL;
}

static enum sky_layer read_layer(const json_t *value)
{
    static const char *const names[] = {
        [SKY_LAYER_DATABASE] = "database", [SKY_LAYER_RPC] = "rpc",
        [SKY_LAYER_HTTP] = "http",         [SKY_LAYER_MQ] = "mq",
        [SKY_LAYER_CACHE] = "cache",       [SKY_LAYER_FAAS] = "faas"};
    const char *name = json_string_value(value);
    if (name == NULL)
        return SKY_LAYER_UNKNOWN;
    for (size_t i = SKY_LAYER_DATABASE; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum sky_layer)i;
    }
    return SKY_LAYER_UNKNOWN;
}

/* Pairs of strings; others, and those without a key, are left out. */
static const struct sky_tag *read_pairs(struct sink *sink, const json_t *array, size_t max,
                                        size_t *count)
{
    *count = 0;
    size_t size = sink_count(sink, array, max);
    if (size == 0)
        return NULL;
    struct sky_tag *tags = sink_alloc(sink, size * sizeof(*tags));
    for (size_t i = 0; i < size; i++) {
        const json_t *pair = json_array_get(array, i);
        const json_t *key = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        if (!json_is_string(value))
            continue;
        struct sky_text key_text = sink_text(sink, key);
        if (key_text.len != 0)
            tags[(*count)++] = (struct sky_tag){key_text, sink_text(sink, value)};
    }
    return tags;
}

static void read_logs(struct sink *sink, const json_t *array, struct sky_app_span *span)
{
    size_t size = sink_count(sink, array, SKY_STITCH_MAX_LOGS);
    if (size == 0)
        return;
    struct sky_app_log *logs = sink_alloc(sink, size * sizeof(*logs));
    for (size_t i = 0; i < size; i++) {
        const json_t *object = json_array_get(array, i);
        struct sky_app_log *log = &logs[span->log_count];
        log->data = read_pairs(sink, json_object_get(object, "data"), SKY_STITCH_MAX_DATA,
                               &log->data_count);
        if (log->data_count == 0)
            continue;
        log->at_us = read_time(object, "at", span->begin_us + span->duration_us);
        span->log_count++;
    }
    span->logs = logs;
}

/* NULL when it is no span. */
static struct sky_app_span *read_span(struct sink *sink, const json_t *object)
{
    int64_t id = read_number(json_object_get(object, "id"), 0, INT64_C(1) + INT32_MAX, 0);
    if (id < 1 || id > INT32_MAX)
        return NULL;
    struct sky_app_span *span = sink_alloc(sink, sizeof(*span));
    *span = (struct sky_app_span){
        .id = (int32_t)id,
        .parent = (int32_t)read_number(json_object_get(object, "parent"), -1, INT32_MAX, -1),
        .type = read_type(json_object_get(object, "type")),
        .layer = read_layer(json_object_get(object, "layer")),
        .component = read_component(object),
        .operation = sink_text(sink, json_object_get(object, "operation")),
        .peer = sink_text(sink, json_object_get(object, "peer")),
        .begin_us = read_time(object, "begin", 0),
        .duration_us = read_time(object, "duration", 0),
        .error = json_is_true(json_object_get(object, "error")),
    };
    span->tags =
        read_pairs(sink, json_object_get(object, "tags"), SKY_STITCH_MAX_TAGS, &span->tag_count);
    read_logs(sink, json_object_get(object, "logs"), span);
    return span;
}

static void read_spans(struct sink *sink, const json_t *array, struct sky_app_part *part)
{
    size_t size = sink_count(sink, array, SKY_STITCH_MAX_SPANS - part->span_count);
    for (size_t i = 0; i < size; i++) {
        struct sky_app_span *span = read_span(sink, json_array_get(array, i));
        if (span == NULL) {
            sink->taken->bad_spans++;
            continue;
        }
        *part->spans_end = span;
        part->spans_end = &span->next;
        part->span_count++;
    }
}

enum sky_stitch_message_result sky_stitch_message_read(struct sky_text bytes,
                                                       struct sky_stitch_message *message)
{
    if (bytes.len == 0 || bytes.len > SKY_STITCH_MESSAGE_MAX_BYTES)
        return SKY_STITCH_MESSAGE_BAD;
    json_t *root = json_loadb(bytes.base, bytes.len, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root))
        goto bad;
    if (read_number(json_object_get(root, "v"), 0, 2, 0) != 1) {
        json_decref(root);
        return SKY_STITCH_MESSAGE_VERSION;
    }
    message->root = root;
    if (json_object_get(root, "process") != NULL)
        return SKY_STITCH_MESSAGE_PROCESS;
    const json_t *segment = json_object_get(root, "segment");
    if (!sky_id_parse(sky_text(json_string_value(segment), json_string_length(segment)),
                      &message->segment))
        goto bad;
    int64_t seq = read_number(json_object_get(root, "seq"), -1, SKY_APP_MAX_PARTS, 0);
    if (seq < 0 || seq >= SKY_APP_MAX_PARTS)
        goto bad;
    message->seq = (uint32_t)seq;
    /* One message is the rule, so one that does not say is the last. */
    message->last = !json_is_false(json_object_get(root, "last"));
    return json_object_get(root, "trace") != NULL ? SKY_STITCH_MESSAGE_OWN : SKY_STITCH_MESSAGE_OK;
bad:
    json_decref(root);
    return SKY_STITCH_MESSAGE_BAD;
}

void sky_stitch_message_take(const struct sky_stitch_message *message, h2o_mem_pool_t *pool,
                             struct sky_app_part *part, struct sky_stitch_taken *taken)
{
    const json_t *root = message->root;
    struct sink sink = {pool, taken};

    *taken = (struct sky_stitch_taken){.cut = json_is_true(json_object_get(root, "cut"))};
    int32_t component = read_component(root);
    if (component != 0)
        part->component = component;
    struct sky_text handler = sink_text(&sink, json_object_get(root, "handler"));
    if (handler.len != 0)
        part->handler = handler;
    struct sky_text operation = sink_text(&sink, json_object_get(root, "operation"));
    if (operation.len != 0)
        part->operation = operation;
    part->ignored |= json_is_true(json_object_get(root, "ignored"));
    read_spans(&sink, json_object_get(root, "spans"), part);
    part->truncated |= taken->cut || taken->limited;
}

void sky_stitch_message_fini(struct sky_stitch_message *message)
{
    json_decref(message->root);
    message->root = NULL;
}

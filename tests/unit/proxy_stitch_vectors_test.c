/* SPDX-License-Identifier: Apache-2.0 */
/* Plays tests/vectors/stitch.json, which the helper's tests read too, through a stitch with a real
 * channel. */
#include <jansson.h>
#include <stdlib.h>

#include "propagation/base64.h"
#include "tests/unit/stitch_fixture.h"

struct play {
    struct fixture fixture;
    struct fixture_entry entry;
    const char *name;
    const json_t *vector;
    char *text; /* of the message under way, heap */
};

static const char *const counter_names[] = {
#define SKY_COUNTER(name, metric, labels, help) #name,
#include "proxy/counters.def"
#undef SKY_COUNTER
};

static const json_t *get(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(get(object, key));
}

static struct sky_text string_of(const json_t *value)
{
    return sky_text(json_string_value(value), json_string_length(value));
}

static struct sky_text string(const json_t *object, const char *key)
{
    return string_of(get(object, key));
}

static void assert_text(const struct play *play, const char *what, struct sky_text actual,
                        struct sky_text expected)
{
    if (!sky_text_equal(actual, expected))
        fail_msg("%s: %s is \"%.*s\" instead of \"%.*s\"", play->name, what, (int)actual.len,
                 actual.base, (int)expected.len, expected.base);
}

static void assert_number(const struct play *play, const char *what, int64_t actual,
                          int64_t expected)
{
    if (actual != expected)
        fail_msg("%s: %s is %lld instead of %lld", play->name, what, (long long)actual,
                 (long long)expected);
}

/* The bytes of a message; valid until the next. */
static struct sky_text packet(struct play *play, const json_t *message)
{
    free(play->text);
    play->text = NULL;
    if (get(message, "raw") == NULL) {
        play->text = json_dumps(message, JSON_COMPACT);
        return sky_text_of(play->text);
    }
    struct sky_text raw = string(message, "raw");
    size_t pad = (size_t)integer(message, "pad"), len = pad > raw.len ? pad : raw.len;
    play->text = malloc(len);
    memset(play->text, ' ', len);
    memcpy(play->text, raw.base, raw.len);
    return sky_text(play->text, len);
}

static void check_request_value(struct play *play)
{
    char value[SKY_STITCH_REQUEST_MAX_BYTES], replaced[2 * SKY_STITCH_REQUEST_MAX_BYTES];
    struct sky_text wanted = string(get(play->vector, "request"), "sw8-stitch");
    bool local = wanted.base[2] == '@';
    size_t len = sky_stitch_request_value(play->fixture.stitch, play->entry.entry.segment,
                                          integer(play->vector, "t0"), true, local, value);
    const char *t0 = memchr(value + 2, ';', len - 2);
    assert_non_null(t0);
    int size = snprintf(replaced, sizeof(replaced), "1;%s%.*s", local ? "@skystitch-test" : "-",
                        (int)(value + len - t0), t0);
    assert_text(play, "request value", sky_text(replaced, (size_t)size), wanted);
}

static void send_messages(struct play *play)
{
    size_t index;
    json_t *message;
    const json_t *messages = get(play->vector, "messages");
    if (json_array_size(messages) == 0)
        return;
    int fd = fixture_connect(&play->fixture);
    json_array_foreach(messages, index, message)
    {
        struct sky_text bytes = packet(play, message);
        fixture_send(fd, bytes.base, bytes.len);
    }
    fixture_turn(&play->fixture);
    close(fd);
}

static void give_answer(struct play *play)
{
    struct sky_stitch *stitch = play->fixture.stitch;
    struct sky_stitch_entry *entry = &play->entry.entry;
    const json_t *header = get(play->vector, "header"), *data = get(play->vector, "data");
    size_t count = json_is_string(header) ? 1 : json_array_size(get(play->vector, "headers"));
    sky_stitch_answer(stitch, entry, string_of(header), count);
    if (data == NULL)
        return;
    char encoded[SKY_BASE64_LEN(8192)];
    struct sky_text bytes = packet(play, data);
    assert_true(bytes.len <= 8192);
    size_t len = sky_base64_encode(encoded, bytes);
    sky_stitch_data(stitch, entry, sky_text(encoded, len), 1);
}

static void check_pairs(struct play *play, const struct sky_tag *tags, size_t count,
                        const json_t *wanted)
{
    assert_number(play, "number of pairs", (int64_t)count, (int64_t)json_array_size(wanted));
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(wanted, i);
        assert_text(play, "key", tags[i].key, string_of(json_array_get(pair, 0)));
        assert_text(play, "value", tags[i].value, string_of(json_array_get(pair, 1)));
    }
}

static void check_span(struct play *play, const struct sky_span *span, const json_t *wanted)
{
    static const char *const types[] = {"entry", "exit", "local"};
    static const char *const layers[] = {"unknown", "database", "rpc", "http",
                                         "mq",      "cache",    "faas"};
    assert_number(play, "id", span->id, integer(wanted, "id"));
    assert_number(play, "parent", span->parent, integer(wanted, "parent"));
    assert_number(play, "start_ms", span->start_ms, integer(wanted, "start_ms"));
    assert_number(play, "end_ms", span->end_ms, integer(wanted, "end_ms"));
    assert_text(play, "operation", span->operation, string(wanted, "operation"));
    assert_text(play, "peer", span->peer, string(wanted, "peer"));
    assert_text(play, "type", sky_text_of(types[span->type]), string(wanted, "type"));
    assert_text(play, "layer", sky_text_of(layers[span->layer]), string(wanted, "layer"));
    assert_number(play, "component", span->component, integer(wanted, "component"));
    assert_number(play, "error", span->error, json_is_true(get(wanted, "error")));
    check_pairs(play, span->tags, span->tag_count, get(wanted, "tags"));
    const json_t *logs = get(wanted, "logs");
    assert_number(play, "number of logs", (int64_t)span->log_count, (int64_t)json_array_size(logs));
    for (size_t i = 0; i < span->log_count; i++) {
        const json_t *log = json_array_get(logs, i);
        assert_number(play, "at_ms", span->logs[i].at_ms, integer(log, "at_ms"));
        check_pairs(play, span->logs[i].data, span->logs[i].data_count, get(log, "data"));
    }
}

static void check_merged(struct play *play)
{
    struct sky_stitch_merged merged;
    const json_t *entry = get(play->vector, "entry"), *expect = get(play->vector, "expect");
    const json_t *entry_wanted = get(expect, "entry"), *spans = get(expect, "spans");
    struct sky_stitch_window window = {integer(entry, "begin_us"), integer(entry, "end_us")};
    sky_stitch_merge(play->fixture.stitch, &play->entry.entry, &window, &merged);
    assert_number(play, "entry's component", merged.component, integer(entry_wanted, "component"));
    assert_text(play, "entry's operation", merged.operation, string(entry_wanted, "operation"));
    bool error = sky_stitch_entry_error((int)integer(entry, "status"),
                                        (uint32_t)integer(entry, "error_status"),
                                        json_is_true(get(entry, "cut")));
    assert_number(play, "entry's error", error, json_is_true(get(entry_wanted, "error")));
    assert_number(play, "size_limited", merged.size_limited,
                  json_is_true(get(expect, "size_limited")));
    assert_number(play, "number of spans", (int64_t)merged.span_count,
                  (int64_t)json_array_size(spans));
    for (size_t i = 0; i < merged.span_count; i++)
        check_span(play, &merged.spans[i], json_array_get(spans, i));
}

static void check_counters(struct play *play)
{
    const json_t *wanted = get(get(play->vector, "expect"), "counted");
    for (size_t i = 0; i < SKY_COUNTER_COUNT; i++) {
        if (i == SKY_COUNT_stitch_connections)
            continue;
        assert_number(play, counter_names[i],
                      (int64_t)fixture_count(&play->fixture, (enum sky_counter)i),
                      integer(wanted, counter_names[i]));
    }
}

static void play_vector(const json_t *vector, struct sky_text segment)
{
    struct play play = {.vector = vector, .name = json_string_value(get(vector, "name"))};
    char channel[] = "auto", token[64] = "";
    struct sky_text secret = string(vector, "token");
    assert_true(secret.len < sizeof(token));
    memcpy(token, secret.base != NULL ? secret.base : "", secret.len);

    fixture_init(&play.fixture, channel, token, 1, 1024 * 1024);
    fixture_track(&play.fixture, &play.entry, 0);
    struct sky_id id;
    assert_true(sky_id_parse(segment, &id));
    sky_stitch_retrack(play.fixture.stitch, &play.entry.entry, id);
    check_request_value(&play);
    send_messages(&play);
    give_answer(&play);
    sky_stitch_finish(play.fixture.stitch, &play.entry.entry);
    fixture_wait(&play.fixture, &play.entry.reports, 1);
    assert_int_equal(play.entry.reports, 1);
    check_merged(&play);
    check_counters(&play);
    fixture_entry_fini(&play.entry);
    fixture_fini(&play.fixture);
    free(play.text);
}

static void every_vector_gives_what_it_says(void **state)
{
    size_t index;
    json_t *vector;
    json_error_t error;
    (void)state;
    json_t *file = json_load_file(SKY_TESTS_DIR "/vectors/stitch.json", JSON_ALLOW_NUL, &error);
    if (file == NULL)
        fail_msg("line %d: %s", error.line, error.text);
    const json_t *cases = get(file, "cases");
    assert_true(json_array_size(cases) >= 60);
    json_array_foreach(cases, index, vector) play_vector(vector, string(file, "segment"));
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_gives_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

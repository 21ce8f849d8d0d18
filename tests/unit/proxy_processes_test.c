/* SPDX-License-Identifier: Apache-2.0 */
/* What processes say of themselves, and what it comes to. */
#include "proxy/process/processes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "management.pb-c.h"
#include "reporter/transport.h"
#include "tests/unit/fake_transport.h"

static const char *const backends[] = {"oap:11800"};

static struct {
    struct sky_config config;
    struct sky_identity identity;
    struct sky_counters counters;
    struct sky_reporter *reporter;
    struct sky_processes *processes;
} all;

static int begin_with(unsigned lacks)
{
    static char service[] = "shop", instance[] = "shop@host";
    static struct sky_transport_ops ops;

    ops = fake_ops;
    ops.lacks = lacks;
    memset(&all, 0, sizeof(all));
    memset(&fake, 0, sizeof(fake));
    all.config.agent.service = service;
    all.config.agent.instance = instance;
    all.config.reporter.meters = all.config.reporter.logs = true;
    all.identity.properties[0] = (struct sky_property){"language", "python"};
    all.identity.count = 1;
    all.reporter = sky_reporter_new_with(&(struct sky_reporter_options){.backends = backends,
                                                                        .backend_count = 1,
                                                                        .authentication = "",
                                                                        .service = service,
                                                                        .instance = instance,
                                                                        .memory_bytes = 1u << 20,
                                                                        .batch_bytes = 1u << 16,
                                                                        .batch_interval_ms = 1000,
                                                                        .heartbeat_ms = 30000,
                                                                        .properties_every = 10},
                                         &ops);
    all.processes = sky_processes_new(&all.config, all.reporter);
    return all.reporter != NULL && all.processes != NULL ? 0 : -1;
}

static int begin(void **state)
{
    (void)state;
    return begin_with(0);
}

static int end(void **state)
{
    (void)state;
    sky_processes_destroy(all.processes);
    sky_reporter_destroy(all.reporter);
    return 0;
}

static bool is_trusted = true;

static bool trust(void *data, struct sky_text request)
{
    (void)data;
    return is_trusted || sky_text_equal(request, SKY_TEXT("open"));
}

static void say(struct sky_process **process, const char *text)
{
    json_t *root = json_loads(text, 0, NULL);

    assert_non_null(root);
    sky_processes_take(all.processes, process, root, trust, NULL, &all.counters);
    json_decref(root);
}

static uint64_t count_of(enum sky_counter counter)
{
    return sky_counter_read(&all.counters, counter);
}

static struct sky_processes_sum sum_at(int64_t now_ms)
{
    struct sky_processes_sum sum;

    sky_processes_sum(all.processes, now_ms, 60000, &sum);
    return sum;
}

static void test_flags_are_what_is_wanted_and_has_a_way(void **state)
{
    (void)state;
    assert_true(sky_text_equal(sky_processes_flags(all.processes), SKY_TEXT("pml")));
    sky_processes_destroy(all.processes);
    all.config.reporter.logs = false;
    all.processes = sky_processes_new(&all.config, all.reporter);
    assert_true(sky_text_equal(sky_processes_flags(all.processes), SKY_TEXT("pm")));
    end(NULL);
    begin_with(1u << SKY_CALL_METERS);
    assert_true(sky_text_equal(sky_processes_flags(all.processes), SKY_TEXT("pl")));
}

static void test_a_process_lives_as_long_as_a_connection(void **state)
{
    struct sky_process *first = NULL, *again = NULL, *other = NULL;

    (void)state;
    say(&first, "{\"v\":1,\"process\":\"4711-a\"}");
    say(&again, "{\"v\":1,\"process\":\"4711-a\"}");
    say(&again, "{\"v\":1,\"process\":\"4711-a\"}");
    say(&other, "{\"v\":1,\"process\":\"4711-b\"}");
    assert_ptr_equal(first, again);
    assert_int_equal(sky_processes_count(all.processes), 2);
    sky_processes_leave(all.processes, first);
    assert_int_equal(sky_processes_count(all.processes), 2);
    sky_processes_leave(all.processes, again);
    assert_int_equal(sky_processes_count(all.processes), 1);
    /* a connection that gives itself another name is another process */
    say(&other, "{\"v\":1,\"process\":\"4712-c\"}");
    assert_int_equal(sky_processes_count(all.processes), 1);
    sky_processes_leave(all.processes, other);
    assert_int_equal(count_of(SKY_COUNT_process_message), 5);
}

static void test_strangers_say_nothing(void **state)
{
    struct sky_process *app = NULL, *stranger = NULL;
    struct sky_reporter_counters counters;

    (void)state;
    is_trusted = false;
    say(&stranger, "{\"process\":\"666-x\",\"logs\":[{\"text\":\"false\"}]}");
    assert_null(stranger);
    say(&app, "{\"process\":\"4711-a\",\"request\":\"open\"}");
    say(&app, "{\"process\":\"4711-a\",\"logs\":[{\"text\":\"true\"}]}");
    is_trusted = true;
    assert_int_equal(sky_processes_count(all.processes), 1);
    assert_int_equal(count_of(SKY_COUNT_process_message_refused), 1);
    sky_reporter_counters(all.reporter, &counters);
    assert_int_equal(counters.log_offered, 1);
    sky_processes_leave(all.processes, app);
}

static void test_meters_are_summed(void **state)
{
    struct sky_process *a = NULL, *b = NULL;

    (void)state;
    say(&a, "{\"process\":\"a\",\"meters\":{\"cpu_us\":1000000,\"rss_bytes\":1000,\"threads\":2,"
            "\"gc_collected\":[10,20,30],\"gc_us\":5000}}");
    say(&b, "{\"process\":\"b\",\"meters\":{\"rss_bytes\":500,\"threads\":3}}");
    struct sky_processes_sum sum = sum_at(sky_processes_now_ms());
    assert_int_equal(sum.with_meters, 2);
    assert_true(sum.rss_bytes == 1500);
    assert_true(sum.threads == 5);
    /* what was before the first word is nobody's */
    assert_true(sum.cpu == 0 && sum.gc_collected[0] == 0 && sum.gc_ms == 0);
    int64_t before = sky_processes_now_ms();
    while (sky_processes_now_ms() == before)
        continue;
    say(&a, "{\"process\":\"a\",\"meters\":{\"cpu_us\":1500000,\"rss_bytes\":2000,\"threads\":2,"
            "\"gc_collected\":[11,22,33],\"gc_us\":7000}}");
    int64_t now = sky_processes_now_ms();
    sum = sum_at(now);
    assert_true(sum.rss_bytes == 2500);
    assert_true(sum.cpu > 0);
    assert_true(sum.gc_collected[0] == 1 && sum.gc_collected[1] == 2 && sum.gc_collected[2] == 3);
    assert_true(sum.gc_ms == 2);
    /* without a request for long, it does nothing, but is there */
    sum = sum_at(now + 60001);
    assert_true(sum.cpu == 0);
    assert_true(sum.rss_bytes == 2500);
    /* a worker that goes takes along what it holds, not what it has done */
    sky_processes_leave(all.processes, a);
    sum = sum_at(now);
    assert_true(sum.rss_bytes == 500 && sum.threads == 3 && sum.cpu == 0);
    assert_true(sum.gc_collected[2] == 3 && sum.gc_ms == 2);
    sky_processes_leave(all.processes, b);
    assert_int_equal(sum_at(now).with_meters, 0);
}

static void test_absurd_meters_are_nothing(void **state)
{
    struct sky_process *a = NULL;

    (void)state;
    say(&a, "{\"process\":\"a\",\"meters\":{\"cpu_us\":-5,\"rss_bytes\":\"many\",\"threads\":1e300,"
            "\"gc_collected\":7,\"gc_us\":null}}");
    struct sky_processes_sum sum = sum_at(sky_processes_now_ms());
    assert_true(sum.rss_bytes == 0);
    assert_true(sum.threads == 9e15);
    say(&a, "{\"process\":\"a\",\"meters\":{\"gc_us\":1e300}}");
    say(&a, "{\"process\":\"a\",\"meters\":{\"gc_us\":0}}"); /* shrinks: not counted */
    assert_true(sum_at(sky_processes_now_ms()).gc_ms == 9e12);
    sky_processes_leave(all.processes, a);
}

static void test_properties_are_told_once(void **state)
{
    struct sky_process *a = NULL, *b = NULL;
    static const char word[] =
        "{\"process\":\"a\",\"properties\":[[\"python_version\",\"3.11.2\"],[\"Flask\",\"3.1.3\"],"
        "[\"language\",\"lua\"],[\"bad\"],7,[\"\",\"x\"]]}";

    (void)state;
    assert_null(sky_processes_properties(all.processes, &all.identity));
    say(&a, word);
    struct sky_packet *packet = sky_processes_properties(all.processes, &all.identity);
    assert_non_null(packet);
    assert_int_equal(packet->kind, SKY_PACKET_PROPERTIES);
    Skywalking__V3__InstanceProperties *read =
        skywalking__v3__instance_properties__unpack(NULL, packet->size, packet->data);
    assert_string_equal(read->service, "shop");
    assert_string_equal(read->serviceinstance, "shop@host");
    assert_int_equal(read->n_properties, 3);
    assert_string_equal(read->properties[0]->value, "python"); /* the proxy's own is not theirs */
    assert_string_equal(read->properties[1]->key, "python_version");
    assert_string_equal(read->properties[2]->value, "3.1.3");
    skywalking__v3__instance_properties__free_unpacked(read, NULL);
    free(packet);
    say(&b, word);
    assert_null(sky_processes_properties(all.processes, &all.identity));
    say(&b, "{\"process\":\"b\",\"properties\":[[\"Flask\",\"3.1.4\"]]}");
    packet = sky_processes_properties(all.processes, &all.identity);
    assert_non_null(packet);
    free(packet);
    assert_null(sky_processes_properties(all.processes, &all.identity));
    sky_processes_leave(all.processes, a);
    sky_processes_leave(all.processes, b);
}

static void test_properties_are_bounded(void **state)
{
    struct sky_process *a = NULL;
    char word[300];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(word, sizeof(word), "{\"process\":\"a\",\"properties\":[[\"key%d\",\"%0*d\"]]}", i,
                 i == 0 ? 201 : 5, 0);
        say(&a, word);
    }
    struct sky_packet *packet = sky_processes_properties(all.processes, &all.identity);
    Skywalking__V3__InstanceProperties *read =
        skywalking__v3__instance_properties__unpack(NULL, packet->size, packet->data);
    assert_int_equal(read->n_properties, 1 + SKY_PROCESS_MAX_PROPERTIES);
    assert_string_equal(read->properties[1]->key, "key1"); /* key0's value was too long */
    skywalking__v3__instance_properties__free_unpacked(read, NULL);
    free(packet);
    sky_processes_leave(all.processes, a);
}

static void test_log_records_go_to_the_reporter(void **state)
{
    struct sky_process *a = NULL;
    struct sky_reporter_counters counters;

    (void)state;
    say(&a, "{\"process\":\"a\",\"lost_logs\":3,\"logs\":[{\"at\":1700000000123456,\"text\":\"x\","
            "\"trace\":\"t\",\"segment\":\"s\",\"span\":1,\"operation\":\"GET:/x\","
            "\"tags\":[[\"level\",\"ERROR\"],7]},{\"at\":1},{\"text\":\"y\"}]}");
    sky_reporter_counters(all.reporter, &counters);
    assert_int_equal(counters.log_offered, 2);
    assert_int_equal(count_of(SKY_COUNT_process_log_bad), 1);
    assert_int_equal(count_of(SKY_COUNT_process_log_lost), 3);
    sky_processes_leave(all.processes, a);
}

static void test_words_without_a_name(void **state)
{
    static const char *const words[] = {"{\"process\":7}", "{\"process\":\"\"}",
                                        "{\"process\":\"0123456789012345678901234567890123456789"
                                        "0123456789012345678901234\"}"};
    struct sky_process *a = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        say(&a, words[i]);
    assert_null(a);
    assert_int_equal(count_of(SKY_COUNT_process_message_bad), 3);
}

static void test_too_many_processes(void **state)
{
    static struct sky_process *known[1025];
    char word[64];

    (void)state;
    for (int i = 0; i < 1025; i++) {
        snprintf(word, sizeof(word), "{\"process\":\"%d\"}", i);
        say(&known[i], word);
    }
    assert_int_equal(sky_processes_count(all.processes), 1024);
    assert_null(known[1024]);
    assert_int_equal(count_of(SKY_COUNT_process_message_too_many), 1);
    for (int i = 0; i < 1024; i++)
        sky_processes_leave(all.processes, known[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flags_are_what_is_wanted_and_has_a_way),
        TEST(test_a_process_lives_as_long_as_a_connection),
        TEST(test_strangers_say_nothing),
        TEST(test_meters_are_summed),
        TEST(test_absurd_meters_are_nothing),
        TEST(test_properties_are_told_once),
        TEST(test_properties_are_bounded),
        TEST(test_log_records_go_to_the_reporter),
        TEST(test_words_without_a_name),
        TEST(test_too_many_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of the reporter's own code fails once: nothing crashes, leaks or half-happens.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reporter/gzip.h"
#include "reporter/identity.h"
#include "reporter/local.h"
#include "reporter/log.h"
#include "reporter/segment_json.h"
#include "reporter/spool/store.h"
#include "reporter/transport.h"
#include "tests/unit/fake_transport.h"
#include "tests/unit/numbered_packet.h"

/* The linker sends the allocations of our libraries here (--wrap); those of others stay as they
 * are. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *string);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *string);

static long calls_until_failure = -1; /* negative: none fails */

static bool fails_now(void)
{
    return calls_until_failure >= 0 && calls_until_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails_now() ? NULL : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *string)
{
    return fails_now() ? NULL : __real_strdup(string);
}

/* Runs `step` with the first, second, ... allocation failing, until it succeeds. Returns how many
 * there were. */
static long each_allocation_fails(bool (*step)(void))
{
    for (long n = 0; n < 10000; n++) {
        calls_until_failure = n;
        bool is_done = step();
        bool has_failed = calls_until_failure < 0;
        calls_until_failure = -1;
        assert_true(is_done != has_failed);
        if (is_done)
            return n;
    }
    fail_msg("it never succeeds");
    return -1;
}

static char text[5000];

static bool pack(void)
{
    const struct sky_span span = {.parent = -1, .operation = sky_text(text, sizeof(text))};
    const struct sky_segment segment = {.spans = &span, .span_count = 1};
    struct sky_packet *packet = sky_segment_pack(&segment);

    free(packet);
    return packet != NULL;
}

static void test_pack(void **state)
{
    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(each_allocation_fails(pack), 2);
}

static bool read_json(void)
{
    struct sky_packets segments = {0};
    char error[100];
    bool is_read = sky_segments_from_json(
        SKY_TEXT("[{\"traceId\":\"t\",\"traceSegmentId\":\"s\",\"spans\":[{\"tags\":[{\"key\":"
                 "\"k\"},{}],\"refs\":[{\"traceId\":\"u\"}]}]},{\"traceId\":\"t\","
                 "\"traceSegmentId\":\"r\",\"spans\":[{}]}]"),
        &segments, error, sizeof(error));

    if (is_read)
        assert_int_equal(segments.count, 2);
    else
        assert_non_null(strstr(error, "memory is out"));
    sky_packets_free(&segments);
    return is_read;
}

static void test_json(void **state)
{
    (void)state;
    assert_true(each_allocation_fails(read_json) > 15);
}

static const struct sky_property properties[] = {{"language", "c"}, {"hostname", "h"}};
static const char *const backends[] = {"first:1"};
static const struct sky_reporter_options options = {.backends = backends,
                                                    .backend_count = 1,
                                                    .authentication = "token",
                                                    .service = "shop",
                                                    .instance = "shop@host",
                                                    .properties = properties,
                                                    .property_count = 2,
                                                    .worker_count = 2,
                                                    .memory_bytes = 1u << 20,
                                                    .batch_bytes = 1u << 16,
                                                    .batch_interval_ms = 1000,
                                                    .heartbeat_ms = 30000,
                                                    .spool = {.path = "/nonexistent"},
                                                    .local_enabled = true,
                                                    .local_bytes = 1u << 20};

static bool identify(void)
{
    struct sky_packet *keep_alive = sky_identity_keep_alive(&options);
    struct sky_packet *properties_packet =
        keep_alive != NULL ? sky_identity_properties(&options) : NULL;
    bool is_made = properties_packet != NULL;

    free(keep_alive);
    free(properties_packet);
    return is_made;
}

static void test_identity(void **state)
{
    (void)state;
    assert_true(each_allocation_fails(identify) > 8);
}

static bool make_reporter(void)
{
    struct sky_reporter *reporter = sky_reporter_new_with(&options, &fake_ops);

    sky_reporter_destroy(reporter);
    return reporter != NULL;
}

static void test_reporter(void **state)
{
    (void)state;
    assert_true(each_allocation_fails(make_reporter) > 8);
}

/* In a folder of its own: three packets are written and read back, or none is lost. */
static bool use_store(void)
{
    char folder[] = "/tmp/skystitch-memory-XXXXXX", command[100], error[200];
    struct sky_store store;
    struct sky_page_legacy legacy;
    struct sky_packets packets = {0};
    uint64_t position = 0;

    int calls_left = calls_until_failure;
    calls_until_failure = -1;
    assert_non_null(mkdtemp(folder));
    for (uint32_t i = 0; i < 3; i++)
        sky_packets_add(&packets, numbered_packet(i, 100));
    calls_until_failure = calls_left;
    bool is_open = sky_store_open(&store, folder, 1 << 20, 2, &legacy, error, sizeof(error));
    if (is_open) {
        int status = sky_store_write(&store, &packets);
        assert_true(status == 0 || packets.count > 0);
        status = sky_store_read(&store, 1 << 20, &packets, &position);
        assert_true(status == 0 || status == ENOMEM);
        assert_int_equal(packets.count + store.records, 3);
        sky_store_close(&store);
        sky_page_destroy(store.page);
    }
    bool is_done = is_open && packets.count == 3;
    sky_packets_free(&packets);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return is_done;
}

static void test_store(void **state)
{
    (void)state;
    assert_int_equal(each_allocation_fails(use_store), 5);
}

static bool compress(void)
{
    struct sky_packets packets = {0}, compressed = {0};
    int calls_left = calls_until_failure;

    calls_until_failure = -1;
    for (uint32_t i = 0; i < 3; i++)
        sky_packets_add(&packets, numbered_packet(i, 100));
    calls_until_failure = calls_left;
    bool is_done = sky_gzip_packets(&packets, &compressed);
    assert_int_equal(compressed.count, is_done ? 3 : 0);
    sky_packets_free(&packets);
    sky_packets_free(&compressed);
    return is_done;
}

static void test_gzip(void **state)
{
    (void)state;
    assert_int_equal(each_allocation_fails(compress), 3);
}

static struct sky_local *local;

static bool list_traces(void)
{
    char *page = sky_local_traces(local, 10);

    free(page);
    return page != NULL;
}

static bool show_trace(void)
{
    char *page = sky_local_trace(local, SKY_TEXT("t"));

    free(page);
    return page != NULL;
}

static void test_pages(void **state)
{
    (void)state;
    struct sky_packets segments = {0};
    char error[100];

    assert_true(sky_segments_from_json(
        SKY_TEXT("[{\"traceId\":\"t\",\"traceSegmentId\":\"s\",\"spans\":[{}]}]"), &segments, error,
        sizeof(error)));
    local = sky_local_new(1 << 20);
    sky_local_store(local, sky_packets_shift(&segments));
    assert_true(each_allocation_fails(list_traces) >= 4);
    assert_true(each_allocation_fails(show_trace) >= 1);
    sky_local_destroy(local);
}

static const struct sky_transport_ops *ops;
static struct sky_call call;

static bool start_call(void)
{
    struct sky_transport *transport = ops->create(&options);

    if (transport == NULL)
        return false;
    bool is_started = ops->start(transport, &call);
    if (is_started)
        ops->cancel(transport, &call);
    ops->destroy(transport);
    return is_started;
}

static void test_transports(void **state)
{
    (void)state;
    struct sky_packet *packet = sky_identity_keep_alive(&options);

    assert_non_null(packet);
    call = (struct sky_call){.kind = SKY_CALL_KEEP_ALIVE};
    sky_packets_add(&call.packets, packet);
    ops = &sky_transport_grpc;
    assert_true(each_allocation_fails(start_call) >= 2);
    ops = &sky_transport_http;
    assert_true(each_allocation_fails(start_call) >= 3);
    sky_packets_free(&call.packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_identity), cmocka_unit_test(test_reporter),
        cmocka_unit_test(test_store),    cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_pages),    cmocka_unit_test(test_transports),
    };
    sky_log_set_level(SKY_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

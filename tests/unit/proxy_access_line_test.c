/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the access log, byte by byte, and that no foreign byte makes two of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/access/access_line.h"

static char line[SKY_ACCESS_LINE_BYTES + 1];

static const char *write_line(enum sky_access_format format, const struct sky_access *access)
{
    size_t len = sky_access_line(format, access, line);
    assert_true(len <= SKY_ACCESS_LINE_BYTES);
    line[len] = '\0';
    assert_int_equal(strlen(line), len);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    return line;
}

/* 2026-11-24 09:41:07.000042 UTC */
static struct sky_access usual(void)
{
    return (struct sky_access){
        .received_us = INT64_C(1795513267000042),
        .client = SKY_TEXT("192.0.2.1"),
        .method = SKY_TEXT("GET"),
        .target = SKY_TEXT("/users/7?a=b"),
        .protocol = SKY_TEXT("HTTP/1.1"),
        .host = SKY_TEXT("shop"),
        .referer = SKY_TEXT("http://shop/"),
        .user_agent = SKY_TEXT("curl/8"),
        .status = 200,
        .bytes = 12345,
        .trace_id = SKY_TEXT("trace-1"),
        .segment_id = SKY_TEXT("seg-1"),
        .operation = SKY_TEXT("GET:/users/<int:id>"),
        .upstream = SKY_TEXT("127.0.0.1:8000"),
        .queue_us = 5,
        .connect_us = 0,
        .first_byte_us = 1234567,
        .total_us = 2000000,
    };
}

/* Nothing is known but that it was refused. */
static struct sky_access bare(void)
{
    return (struct sky_access){
        .status = 400, .queue_us = -1, .connect_us = -1, .first_byte_us = -1, .total_us = -1};
}

static void common_and_combined(void **state)
{
    struct sky_access access = usual(), none = bare();
    (void)state;
    assert_string_equal(write_line(SKY_ACCESS_COMMON, &access),
                        "192.0.2.1 - - [24/Nov/2026:09:41:07 +0000] "
                        "\"GET /users/7?a=b HTTP/1.1\" 200 12345\n");
    assert_string_equal(write_line(SKY_ACCESS_COMBINED, &access),
                        "192.0.2.1 - - [24/Nov/2026:09:41:07 +0000] "
                        "\"GET /users/7?a=b HTTP/1.1\" 200 12345 \"http://shop/\" \"curl/8\"\n");
    assert_string_equal(write_line(SKY_ACCESS_COMBINED, &none),
                        "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\"\n");
}

static void json(void **state)
{
    struct sky_access access = usual(), none = bare();
    (void)state;
    assert_string_equal(
        write_line(SKY_ACCESS_JSON, &access),
        "{\"time\":\"2026-11-24T09:41:07.000042Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\","
        "\"target\":\"/users/7?a=b\",\"protocol\":\"HTTP/1.1\",\"host\":\"shop\",\"status\":200,"
        "\"bytes\":12345,\"referer\":\"http://shop/\",\"user_agent\":\"curl/8\","
        "\"trace\":\"trace-1\",\"segment\":\"seg-1\",\"operation\":\"GET:/users/<int:id>\","
        "\"upstream\":\"127.0.0.1:8000\",\"queue_ms\":0.005,\"connect_ms\":0.000,"
        "\"first_byte_ms\":1234.567,\"total_ms\":2000.000}\n");
    assert_string_equal(write_line(SKY_ACCESS_JSON, &none),
                        "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"status\":400,\"bytes\":0}\n");
    none.client_gone = true;
    none.failure = SKY_TEXT("no Host");
    assert_string_equal(write_line(SKY_ACCESS_JSON, &none),
                        "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"status\":400,\"bytes\":0,"
                        "\"failure\":\"no Host\",\"client_gone\":true}\n");
}

static void assert_ascii(const char *text)
{
    for (const char *at = text; at[1] != '\0'; at++)
        assert_in_range((unsigned char)*at, 0x20, 0x7e);
}

static void set_all(struct sky_access *access, struct sky_text text)
{
    access->client = access->method = access->target = access->protocol = access->host = text;
    access->referer = access->user_agent = access->trace_id = access->segment_id = text;
    access->operation = access->upstream = access->failure = text;
}

/* Every byte, in every field. */
static void no_byte_forges_a_line(void **state)
{
    static const char *const members[] = {"client",  "method",    "target",     "protocol",
                                          "host",    "referer",   "user_agent", "trace",
                                          "segment", "operation", "upstream",   "failure"};
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char bytes[3] = {'a', (char)byte, 'z'};
        struct sky_access access = usual();
        set_all(&access, sky_text(bytes, sizeof(bytes)));
        assert_ascii(write_line(SKY_ACCESS_COMBINED, &access));
        assert_ascii(write_line(SKY_ACCESS_JSON, &access));
        json_t *tree = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(tree);
        /* bytes alone are no UTF-8 from 0x80 on: as if they were Latin-1 */
        char latin[8];
        int len = byte < 0x80 ? snprintf(latin, sizeof(latin), "a%cz", byte)
                              : snprintf(latin, sizeof(latin), "a%c%cz", 0xc0 | byte >> 6,
                                         0x80 | (byte & 0x3f));
        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
            json_t *member = json_object_get(tree, members[i]);
            assert_int_equal(json_string_length(member), (size_t)len);
            assert_memory_equal(json_string_value(member), latin, (size_t)len);
        }
        json_decref(tree);
    }
}

static void escapes(void **state)
{
    struct sky_access access = bare();
    (void)state;
    access.user_agent = SKY_TEXT("\"\\\n\x7f\xc3\xa9");
    assert_non_null(
        strstr(write_line(SKY_ACCESS_COMBINED, &access), "\"\\x22\\x5c\\x0a\\x7f\\xc3\\xa9\""));
    assert_non_null(
        strstr(write_line(SKY_ACCESS_JSON, &access), "\"\\\"\\\\\\u000a\\u007f\\u00e9\""));
    access.user_agent = SKY_TEXT("\xe2\x80\xa8\xf0\x9f\x98\x80");
    assert_non_null(strstr(write_line(SKY_ACCESS_JSON, &access), "\"\\u2028\\ud83d\\ude00\""));
}

static void long_fields_are_cut(void **state)
{
    static char worst[70000];
    struct sky_access access = usual();
    (void)state;
    memset(worst, '\x01', sizeof(worst));
    set_all(&access, sky_text(worst, sizeof(worst)));
    access.bytes = INT64_MAX; /* what jansson reads */
    access.total_us = access.queue_us = access.connect_us = access.first_byte_us = INT64_MAX;
    access.client_gone = true;
    write_line(SKY_ACCESS_COMBINED, &access);
    write_line(SKY_ACCESS_JSON, &access);
    json_t *tree = json_loads(line, 0, NULL);
    assert_non_null(tree);
    assert_int_equal(json_string_length(json_object_get(tree, "target")), 4096 + 3);
    assert_int_equal(json_string_length(json_object_get(tree, "referer")), 1024 + 3);
    json_decref(tree);
    /* not within a character */
    worst[0] = 'a';
    for (size_t i = 1; i + 1 < sizeof(worst); i += 2)
        memcpy(worst + i, "\xc3\xa9", 2);
    access.referer = sky_text(worst, 5001);
    write_line(SKY_ACCESS_JSON, &access);
    tree = json_loads(line, 0, NULL);
    assert_non_null(tree);
    assert_int_equal(json_string_length(json_object_get(tree, "referer")), 1023 + 3);
    json_decref(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_and_combined),   cmocka_unit_test(json),
        cmocka_unit_test(no_byte_forges_a_line), cmocka_unit_test(escapes),
        cmocka_unit_test(long_fields_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

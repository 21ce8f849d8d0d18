/* SPDX-License-Identifier: Apache-2.0 */
/* A loop with a stitch, entries whose reports are noted, and a helper's end of the channel. */
#ifndef SKY_TESTS_UNIT_STITCH_FIXTURE_H
#define SKY_TESTS_UNIT_STITCH_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <h2o.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/stitch/stitch.h"

struct fixture {
    h2o_globalconf_t globalconf;
    h2o_context_t ctx;
    struct sky_config config;
    struct sky_counters counters;
    struct sky_stitch *stitch;
};

struct fixture_entry {
    struct sky_stitch_entry entry;
    h2o_mem_pool_t pool;
    unsigned reports;
};

static inline void fixture_loop_init(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    h2o_config_init(&fixture->globalconf);
    h2o_config_register_host(&fixture->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_context_init(&fixture->ctx, h2o_evloop_create(), &fixture->globalconf);
}

static inline void fixture_loop_fini(struct fixture *fixture)
{
    h2o_loop_t *loop = fixture->ctx.loop;
    h2o_context_dispose(&fixture->ctx);
    h2o_evloop_run(loop, 0); /* frees the closed sockets */
    h2o_evloop_destroy(loop);
    h2o_config_dispose(&fixture->globalconf);
}

/* The strings are borrowed. */
static inline void fixture_init(struct fixture *fixture, char *channel, char *token,
                                uint32_t hold_ms, size_t hold_max)
{
    fixture_loop_init(fixture);
    fixture->config.stitch.channel = channel;
    fixture->config.stitch.token = token;
    fixture->config.stitch.hold_ms = hold_ms;
    fixture->config.stitch.hold_max = hold_max;
    fixture->stitch = sky_stitch_new(&fixture->ctx, &fixture->config, 3, &fixture->counters);
}

static inline void fixture_fini(struct fixture *fixture)
{
    sky_stitch_flush(fixture->stitch);
    assert_int_equal(sky_stitch_bytes(fixture->stitch), 0);
    sky_stitch_destroy(fixture->stitch);
    fixture_loop_fini(fixture);
}

static inline uint64_t fixture_count(const struct fixture *fixture, enum sky_counter counter)
{
    return sky_counter_read(&fixture->counters, counter);
}

static inline void fixture_on_report(struct sky_stitch_entry *entry)
{
    H2O_STRUCT_FROM_MEMBER(struct fixture_entry, entry, entry)->reports++;
}

/* Tracked under the segment id 0...0<number>. */
static inline void fixture_track(struct fixture *fixture, struct fixture_entry *entry,
                                 uint64_t number)
{
    memset(entry, 0, sizeof(*entry));
    h2o_mem_init_pool(&entry->pool);
    entry->entry.segment = (struct sky_id){0, number};
    entry->entry.pool = &entry->pool;
    entry->entry.upstream = "upstream";
    entry->entry.report = fixture_on_report;
    sky_stitch_track(fixture->stitch, &entry->entry);
}

static inline void fixture_entry_fini(struct fixture_entry *entry)
{
    h2o_mem_clear_pool(&entry->pool);
}

/* One turn of the loop, which ends at once when there is nothing to do. */
static inline void fixture_turn(struct fixture *fixture)
{
    h2o_evloop_run(fixture->ctx.loop, 0);
}

/* Turns, at most a hundred, until the number is at least `wanted`; sleeps up to 100 ms in each. */
static inline void fixture_wait(struct fixture *fixture, const unsigned *number, unsigned wanted)
{
    for (int i = 0; i < 100 && *number < wanted; i++)
        h2o_evloop_run(fixture->ctx.loop, 100);
    assert_true(*number >= wanted);
}

static inline int fixture_try_connect(const char *address)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(address);
    assert_true(len < sizeof(sun.sun_path));
    memcpy(sun.sun_path, address, len);
    if (address[0] == '@')
        sun.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd != -1);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (connect(fd, (struct sockaddr *)&sun, size) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A helper's connection. */
static inline int fixture_connect(const struct fixture *fixture)
{
    char address[SKY_STITCH_REQUEST_MAX_BYTES];
    struct sky_text channel = sky_stitch_channel(fixture->stitch, true);
    snprintf(address, sizeof(address), "%.*s", (int)channel.len, channel.base);
    int fd = fixture_try_connect(address);
    assert_true(fd != -1);
    return fd;
}

static inline void fixture_send(int fd, const char *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void fixture_begin(struct fixture *fixture, uint32_t hold_ms, size_t hold_max)
{
    static char channel_auto[] = "auto", no_token[] = "";

    fixture_init(fixture, channel_auto, no_token, hold_ms, hold_max);
}

static inline void fixture_answer(struct fixture *fixture, struct fixture_entry *entry,
                                  const char *more)
{
    char value[128];
    int len = snprintf(value, sizeof(value), "1;7001;1;2;%s;a.b;GET:/c", more);
    sky_stitch_answer(fixture->stitch, &entry->entry, sky_text(value, (size_t)len), 1);
}

static inline void fixture_answer_without_header(struct fixture *fixture,
                                                 struct fixture_entry *entry)
{
    sky_stitch_answer(fixture->stitch, &entry->entry, sky_text(NULL, 0), 0);
}

static inline void fixture_finish(struct fixture *fixture, struct fixture_entry *entry)
{
    sky_stitch_finish(fixture->stitch, &entry->entry);
}

/* A message for segment `number`, filled up to `size` bytes by a tag. */
static inline void fixture_send_part(int fd, uint64_t number, unsigned seq, bool last, size_t size)
{
    static char bytes[48 * 1024];
    int len =
        snprintf(bytes, sizeof(bytes),
                 "{\"v\":1,\"segment\":\"%032llx\",\"seq\":%u,\"last\":%s,\"component\":7001,"
                 "\"spans\":[{\"id\":%u,\"parent\":0,\"operation\":\"a.b\",\"tags\":[[\"k\",\"",
                 (unsigned long long)number, seq, last ? "true" : "false", seq + 1);
    for (; (size_t)len + 10 < size; len++)
        bytes[len] = 'x';
    len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "\"]]}]}");
    fixture_send(fd, bytes, (size_t)len);
}

static inline void fixture_send_message(int fd, uint64_t number)
{
    fixture_send_part(fd, number, 0, true, 0);
}

static inline bool fixture_is_size_limited(struct fixture *fixture, struct fixture_entry *entry)
{
    struct sky_stitch_merged merged;
    struct sky_stitch_window window = {0, 1000};
    sky_stitch_merge(fixture->stitch, &entry->entry, &window, &merged);
    return merged.size_limited;
}

#endif

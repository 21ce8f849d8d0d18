/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers are passed over, and for how long. */
#include "proxy/back/balance.h"
#include "proxy/back/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT 3

struct fixture {
    h2o_globalconf_t globalconf;
    h2o_context_t ctx;
    struct sky_config config;
    struct sky_server_config servers[COUNT];
    struct sky_upstream_config upstream_config;
    struct sky_counters counters;
    struct sky_roster *roster;
    struct sky_upstream *upstream;
};

static struct fixture *set_up(uint32_t max_fails)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    h2o_config_init(&fixture->globalconf);
    h2o_config_register_host(&fixture->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_context_init(&fixture->ctx, h2o_evloop_create(), &fixture->globalconf);
    h2o_evloop_run(fixture->ctx.loop, 0); /* sets its clock */
    for (size_t i = 0; i < COUNT; ++i) {
        assert_null(sky_address_parse("unix:/app", &fixture->servers[i].address));
        fixture->servers[i].weight = 1;
    }
    fixture->upstream_config = (struct sky_upstream_config){.name = (char *)(uintptr_t) "app",
                                                            .servers = fixture->servers,
                                                            .server_count = COUNT,
                                                            .max_fails = max_fails,
                                                            .fail_timeout_ms = 1000};
    fixture->roster = sky_roster_new(&fixture->upstream_config, 1);
    fixture->upstream =
        sky_upstream_new(&fixture->ctx, fixture->roster, 0, &fixture->config, &fixture->counters);
    return fixture;
}

static void tear_down(struct fixture *fixture)
{
    h2o_loop_t *loop = fixture->ctx.loop;

    sky_upstream_destroy(fixture->upstream);
    sky_roster_destroy(fixture->roster);
    for (size_t i = 0; i < COUNT; ++i)
        sky_address_fini(&fixture->servers[i].address);
    h2o_context_dispose(&fixture->ctx);
    h2o_evloop_destroy(loop);
    h2o_config_dispose(&fixture->globalconf);
    free(fixture);
}

static struct sky_upstream_server *choose(struct sky_upstream *upstream)
{
    bool full;

    return sky_balance_choose(upstream, 0, &full);
}

static void expect_turns(struct fixture *fixture, const char *turns)
{
    for (; *turns != '\0'; ++turns)
        assert_ptr_equal(choose(fixture->upstream), fixture->upstream->servers[*turns - 'a']);
}

/* As if so much time had passed since. */
static void age(struct sky_upstream_server *server, uint64_t ms)
{
    server->fails_since_ms -= ms;
    if (server->share->down_until_ms != 0)
        server->share->down_until_ms -= ms;
}

static void a_server_is_down_after_max_fails(void **state)
{
    struct fixture *fixture = set_up(2);
    struct sky_upstream_server *b = fixture->upstream->servers[1];

    (void)state;
    expect_turns(fixture, "abcabc");
    sky_health_failed(b, SKY_FAILURE_REFUSED);
    expect_turns(fixture, "abc");
    sky_health_failed(b, SKY_FAILURE_CLOSED);
    expect_turns(fixture, "acac");
    assert_int_equal(sky_counter_read(&fixture->counters, SKY_COUNT_upstream_down), 1);
    age(b, 1000);
    expect_turns(fixture, "abc");
    sky_health_failed(b, SKY_FAILURE_REFUSED); /* one is enough now */
    expect_turns(fixture, "ac");
    age(b, 1000);
    expect_turns(fixture, "ab");
    sky_health_answered(b);
    sky_health_failed(b, SKY_FAILURE_REFUSED);
    expect_turns(fixture, "cab");
    tear_down(fixture);
}

static void old_failures_are_forgotten(void **state)
{
    struct fixture *fixture = set_up(2);
    struct sky_upstream_server *a = fixture->upstream->servers[0];

    (void)state;
    sky_health_failed(a, SKY_FAILURE_REFUSED);
    age(a, 1001);
    sky_health_failed(a, SKY_FAILURE_REFUSED);
    expect_turns(fixture, "abc");
    sky_health_failed(a, SKY_FAILURE_REFUSED);
    expect_turns(fixture, "bcbc");
    tear_down(fixture);
}

static void when_all_are_down_all_are_tried(void **state)
{
    struct fixture *fixture = set_up(1);

    (void)state;
    for (size_t i = 0; i < COUNT; ++i)
        sky_health_failed(fixture->upstream->servers[i], SKY_FAILURE_CONNECT_TIMEOUT);
    for (int i = 0; i < COUNT; ++i) {
        struct sky_upstream_server *server = choose(fixture->upstream);
        assert_ptr_not_equal(choose(fixture->upstream), server);
    }
    sky_health_answered(fixture->upstream->servers[1]);
    expect_turns(fixture, "bbb");
    tear_down(fixture);
}

static void some_failures_do_not_count(void **state)
{
    struct fixture *fixture = set_up(1);
    struct sky_upstream_server *a = fixture->upstream->servers[0];

    (void)state;
    sky_health_failed(a, SKY_FAILURE_BACKLOG_FULL);
    sky_health_failed(a, SKY_FAILURE_MALFORMED);
    expect_turns(fixture, "abc");
    tear_down(fixture);
    fixture = set_up(0);
    sky_health_failed(fixture->upstream->servers[0], SKY_FAILURE_REFUSED);
    expect_turns(fixture, "abc");
    fixture->upstream_config.max_fails = 1;
    fixture->upstream->server_count = 1;
    sky_health_failed(fixture->upstream->servers[0], SKY_FAILURE_REFUSED);
    expect_turns(fixture, "aaa");
    fixture->upstream->server_count = COUNT;
    tear_down(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_is_down_after_max_fails),
        cmocka_unit_test(old_failures_are_forgotten),
        cmocka_unit_test(when_all_are_down_all_are_tried),
        cmocka_unit_test(some_failures_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

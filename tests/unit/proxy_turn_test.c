/* SPDX-License-Identifier: Apache-2.0 */
/* Places and the queue, by two workers that the test turns itself. */
#include "proxy/back/turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/back/health.h"

#define WORKERS 2
#define SERVERS 2

struct fixture {
    h2o_globalconf_t globalconf;
    struct sky_config config;
    struct sky_server_config servers[SERVERS];
    struct sky_upstream_config upstream_config;
    struct sky_roster *roster;
    struct {
        h2o_context_t ctx;
        struct sky_counters counters;
        struct sky_upstream *upstream;
    } workers[WORKERS];
};

/* Two places on each of so many servers; three may wait. */
static struct fixture *set_up(size_t servers, uint32_t timeout_ms)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    h2o_config_init(&fixture->globalconf);
    h2o_config_register_host(&fixture->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    fixture->upstream_config = (struct sky_upstream_config){
        .name = (char *)(uintptr_t) "app",
        .servers = fixture->servers,
        .server_count = servers,
        .max_fails = 1,
        .fail_timeout_ms = 60000,
        .queue = {.max = 3, .timeout_ms = timeout_ms},
    };
    for (size_t i = 0; i < servers; ++i) {
        assert_null(sky_address_parse("unix:/app", &fixture->servers[i].address));
        fixture->servers[i].weight = 1;
        fixture->servers[i].max_connections = 2;
    }
    fixture->roster = sky_roster_new(&fixture->upstream_config, WORKERS);
    for (size_t i = 0; i < WORKERS; ++i) {
        h2o_context_init(&fixture->workers[i].ctx, h2o_evloop_create(), &fixture->globalconf);
        h2o_evloop_run(fixture->workers[i].ctx.loop, 0); /* sets its clock */
        fixture->workers[i].upstream =
            sky_upstream_new(&fixture->workers[i].ctx, fixture->roster, i, &fixture->config,
                             &fixture->workers[i].counters);
    }
    return fixture;
}

static void tear_down(struct fixture *fixture)
{
    assert_int_equal(fixture->roster->waiting, 0);
    for (size_t i = 0; i < fixture->upstream_config.server_count; ++i)
        assert_int_equal(fixture->roster->members[i]->taken, 0);
    for (size_t i = 0; i < WORKERS; ++i) {
        h2o_loop_t *loop = fixture->workers[i].ctx.loop;
        sky_upstream_destroy(fixture->workers[i].upstream);
        h2o_context_dispose(&fixture->workers[i].ctx);
        h2o_evloop_destroy(loop);
    }
    sky_roster_destroy(fixture->roster);
    h2o_config_dispose(&fixture->globalconf);
    for (size_t i = 0; i < SERVERS; ++i)
        sky_address_fini(&fixture->servers[i].address);
    free(fixture);
}

static void settle(struct fixture *fixture)
{
    for (int i = 0; i < 20; ++i)
        for (size_t k = 0; k < WORKERS; ++k)
            h2o_evloop_run(fixture->workers[k].ctx.loop, 0);
}

struct request {
    struct sky_turn turn; /* first */
    int done;
    enum sky_failure failure;
};

static void on_done(struct sky_turn *turn, enum sky_failure failure)
{
    struct request *request = (struct request *)turn;

    request->done++;
    request->failure = failure;
}

static enum sky_turn_result take(struct fixture *fixture, size_t worker, struct request *request)
{
    *request = (struct request){.done = 0};
    return sky_turn_take(&request->turn, fixture->workers[worker].upstream, on_done);
}

static void places_are_of_all_workers(void **state)
{
    struct fixture *fixture = set_up(1, 60000);
    struct request r[7];

    (void)state;
    assert_int_equal(take(fixture, 0, &r[0]), SKY_TURN_HELD);
    assert_int_equal(take(fixture, 1, &r[1]), SKY_TURN_HELD);
    assert_int_equal(take(fixture, 0, &r[2]), SKY_TURN_QUEUED);
    assert_int_equal(take(fixture, 0, &r[3]), SKY_TURN_QUEUED);
    assert_int_equal(take(fixture, 1, &r[4]), SKY_TURN_QUEUED);
    assert_int_equal(take(fixture, 1, &r[5]), SKY_TURN_REFUSED);
    assert_int_equal(sky_counter_read(&fixture->workers[0].counters, SKY_COUNT_upstream_queued), 2);
    /* an end in one worker is a turn in the other, then in order */
    sky_turn_end(&r[0].turn);
    assert_int_equal(r[4].done, 0);
    settle(fixture);
    assert_int_equal(r[4].done, 1);
    assert_int_equal(r[4].failure, SKY_FAILURE_NONE);
    assert_non_null(r[4].turn.server);
    assert_int_equal(r[2].done, 0);
    sky_turn_end(&r[1].turn);
    settle(fixture);
    assert_int_equal(r[2].done, 1);
    assert_int_equal(r[3].done, 0);
    /* who comes now is behind the one that waits, also in another worker */
    sky_turn_end(&r[2].turn);
    assert_int_equal(take(fixture, 1, &r[6]), SKY_TURN_QUEUED);
    settle(fixture);
    assert_int_equal(r[3].done + r[6].done, 1);
    sky_turn_end(&r[4].turn);
    settle(fixture);
    assert_int_equal(r[3].done + r[6].done, 2);
    sky_turn_end(&r[3].turn);
    sky_turn_end(&r[6].turn);
    tear_down(fixture);
}

static void no_server_is_another_reason_than_a_full_queue(void **state)
{
    struct fixture *fixture = set_up(1, 60000);
    struct sky_upstream *other = fixture->workers[1].upstream;
    struct request r[6];

    (void)state;
    for (int i = 0; i < 5; ++i)
        assert_int_equal(take(fixture, 0, &r[i]), i < 2 ? SKY_TURN_HELD : SKY_TURN_QUEUED);
    other->server_count = 0; /* as after an answer that the name has no address any more */
    assert_int_equal(take(fixture, 1, &r[5]), SKY_TURN_NONE);
    other->server_count = 1;
    assert_int_equal(take(fixture, 1, &r[5]), SKY_TURN_REFUSED);
    for (int i = 4; i >= 0; --i)
        sky_turn_end(&r[i].turn);
    tear_down(fixture);
}

static void who_waits_too_long_is_told(void **state)
{
    struct fixture *fixture = set_up(1, 10);
    struct request r[3];

    (void)state;
    for (int i = 0; i < 2; ++i)
        assert_int_equal(take(fixture, 0, &r[i]), SKY_TURN_HELD);
    assert_int_equal(take(fixture, 1, &r[2]), SKY_TURN_QUEUED);
    for (int i = 0; i < 1000 && r[2].done == 0; ++i)
        h2o_evloop_run(fixture->workers[1].ctx.loop, 10);
    assert_int_equal(r[2].done, 1);
    assert_int_equal(r[2].failure, SKY_FAILURE_QUEUE_TIMEOUT);
    assert_null(r[2].turn.server);
    sky_turn_end(&r[2].turn); /* harmless */
    for (int i = 0; i < 2; ++i)
        sky_turn_end(&r[i].turn);
    tear_down(fixture);
}

static void who_leaves_the_queue_costs_nobody_a_turn(void **state)
{
    struct fixture *fixture = set_up(1, 60000);
    struct request r[4];

    (void)state;
    for (int i = 0; i < 2; ++i)
        assert_int_equal(take(fixture, 0, &r[i]), SKY_TURN_HELD);
    assert_int_equal(take(fixture, 1, &r[2]), SKY_TURN_QUEUED);
    assert_int_equal(take(fixture, 0, &r[3]), SKY_TURN_QUEUED);
    sky_turn_end(&r[0].turn); /* wakes worker 1, whose request leaves before */
    sky_turn_end(&r[2].turn);
    settle(fixture);
    assert_int_equal(r[2].done, 0);
    assert_int_equal(r[3].done, 1);
    sky_turn_end(&r[1].turn);
    sky_turn_end(&r[3].turn);
    tear_down(fixture);
}

static void a_place_is_moved_with_its_request(void **state)
{
    struct fixture *fixture = set_up(2, 60000);
    struct request r[5];

    (void)state;
    assert_int_equal(take(fixture, 0, &r[0]), SKY_TURN_HELD);
    struct sky_upstream_server *first = r[0].turn.server;
    assert_int_equal(first->member->taken, 1);
    assert_int_equal(sky_turn_next(&r[0].turn, on_done), SKY_TURN_HELD);
    assert_int_equal(first->member->taken, 0);
    assert_int_equal(r[0].turn.server->member->taken, 1);
    assert_int_equal(sky_turn_next(&r[0].turn, on_done), SKY_TURN_NONE);
    /* the other server has no place: the request waits for it, and gives its own up */
    for (int i = 1; i < 4; ++i)
        assert_int_equal(take(fixture, 0, &r[i]), SKY_TURN_HELD);
    struct request *at_first = r[1].turn.server == first ? &r[1] : &r[2];
    struct request *elsewhere = &r[3];
    for (int i = 1; i < 4; ++i)
        if (r[i].turn.server != first)
            elsewhere = &r[i];
    assert_int_equal(sky_turn_next(&elsewhere->turn, on_done), SKY_TURN_QUEUED);
    assert_int_equal(fixture->roster->waiting, 1);
    sky_turn_end(&at_first->turn);
    settle(fixture);
    assert_int_equal(elsewhere->done, 1);
    assert_ptr_equal(elsewhere->turn.server, first);
    for (int i = 0; i < 4; ++i)
        sky_turn_end(&r[i].turn);
    tear_down(fixture);
}

/* No request ends, yet a place comes: the server is no longer passed over. */
static void a_server_that_comes_back_takes_who_waits(void **state)
{
    struct fixture *fixture = set_up(2, 60000);
    struct request r[3];

    (void)state;
    sky_health_failed(fixture->workers[0].upstream->servers[1], SKY_FAILURE_REFUSED);
    for (int i = 0; i < 2; ++i)
        assert_int_equal(take(fixture, 0, &r[i]), SKY_TURN_HELD);
    assert_int_equal(take(fixture, 0, &r[2]), SKY_TURN_QUEUED);
    settle(fixture);
    assert_int_equal(r[2].done, 0);
    sky_health_answered(fixture->workers[0].upstream->servers[1]);
    for (int i = 0; i < 1000 && r[2].done == 0; ++i)
        h2o_evloop_run(fixture->workers[0].ctx.loop, 10);
    assert_int_equal(r[2].done, 1);
    assert_int_equal(r[2].turn.server->member->index, 1);
    for (int i = 0; i < 3; ++i)
        sky_turn_end(&r[i].turn);
    tear_down(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_of_all_workers),
        cmocka_unit_test(no_server_is_another_reason_than_a_full_queue),
        cmocka_unit_test(who_waits_too_long_is_told),
        cmocka_unit_test(who_leaves_the_queue_costs_nobody_a_turn),
        cmocka_unit_test(a_place_is_moved_with_its_request),
        cmocka_unit_test(a_server_that_comes_back_takes_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

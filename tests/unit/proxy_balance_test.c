/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: weights, running requests, backups, and what a request has tried. */
#include "proxy/back/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/back/health.h"
#include "proxy/back/turn.h"

#define MAX_SERVERS 5

struct fixture {
    h2o_globalconf_t globalconf;
    h2o_context_t ctx;
    struct sky_config config;
    struct sky_server_config servers[MAX_SERVERS];
    struct sky_upstream_config upstream_config;
    struct sky_counters counters;
    struct sky_roster *roster;
    struct sky_upstream *upstream;
};

/* One server a digit, its weight; behind a B are the backups. */
static struct fixture *set_up(const char *weights, enum sky_balance balance)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    bool backup = false;

    h2o_config_init(&fixture->globalconf);
    h2o_config_register_host(&fixture->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_context_init(&fixture->ctx, h2o_evloop_create(), &fixture->globalconf);
    h2o_evloop_run(fixture->ctx.loop, 0); /* sets its clock */
    fixture->upstream_config = (struct sky_upstream_config){.name = (char *)(uintptr_t) "app",
                                                            .servers = fixture->servers,
                                                            .balance = balance,
                                                            .max_fails = 1,
                                                            .fail_timeout_ms = 60000};
    for (; *weights != '\0'; ++weights) {
        backup |= *weights == 'B';
        if (*weights == 'B')
            continue;
        struct sky_server_config *server =
            &fixture->servers[fixture->upstream_config.server_count++];
        assert_null(sky_address_parse("unix:/app", &server->address));
        server->weight = (uint32_t)(*weights - '0');
        server->backup = backup;
    }
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
    for (size_t i = 0; i < MAX_SERVERS; ++i)
        sky_address_fini(&fixture->servers[i].address);
    h2o_context_dispose(&fixture->ctx);
    h2o_evloop_destroy(loop);
    h2o_config_dispose(&fixture->globalconf);
    free(fixture);
}

static char letter_of(const struct sky_upstream_server *server)
{
    return (char)('a' + server->member->index);
}

static struct sky_upstream_server *choose(struct sky_upstream *upstream)
{
    bool full;

    return sky_balance_choose(upstream, 0, &full);
}

/* No place is ever waited for here. */
static char take(struct sky_turn *turn, struct fixture *fixture)
{
    assert_int_equal(sky_turn_take(turn, fixture->upstream, NULL), SKY_TURN_HELD);
    return letter_of(turn->server);
}

static char next(struct sky_turn *turn)
{
    assert_int_equal(sky_turn_next(turn, NULL), SKY_TURN_HELD);
    return letter_of(turn->server);
}

static void expect_turns(struct fixture *fixture, const char *turns)
{
    char found[32] = "";

    for (size_t i = 0; turns[i] != '\0'; ++i)
        found[i] = letter_of(choose(fixture->upstream));
    assert_string_equal(found, turns);
}

static void heavy_servers_come_often_and_spread(void **state)
{
    struct fixture *fixture = set_up("512", SKY_BALANCE_ROUND_ROBIN);

    (void)state;
    expect_turns(fixture, "acaabacaacaabaca");
    tear_down(fixture);
    fixture = set_up("111", SKY_BALANCE_ROUND_ROBIN);
    expect_turns(fixture, "abcabcabc");
    tear_down(fixture);
}

/* Whatever the weights: after their sum of turns each had its weight, and no turn was given away.
 */
static void each_round_is_exact(void **state)
{
    static const char *const all[] = {"19", "37", "999", "1234", "91191", "22", "5"};

    (void)state;
    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); ++k) {
        struct fixture *fixture = set_up(all[k], SKY_BALANCE_ROUND_ROBIN);
        size_t sum = 0, turns[MAX_SERVERS] = {0};
        for (const char *at = all[k]; *at != '\0'; ++at)
            sum += (size_t)(*at - '0');
        for (int round = 1; round <= 3; ++round) {
            for (size_t i = 0; i < sum; ++i)
                turns[letter_of(choose(fixture->upstream)) - 'a']++;
            for (size_t i = 0; all[k][i] != '\0'; ++i)
                assert_int_equal(turns[i], round * (all[k][i] - '0'));
        }
        tear_down(fixture);
    }
}

static void backups_wait_for_all_others(void **state)
{
    struct fixture *fixture = set_up("11B11", SKY_BALANCE_ROUND_ROBIN);
    struct sky_upstream_server **servers = fixture->upstream->servers;

    (void)state;
    expect_turns(fixture, "abab");
    sky_health_failed(servers[0], SKY_FAILURE_REFUSED);
    expect_turns(fixture, "bbb");
    sky_health_failed(servers[1], SKY_FAILURE_REFUSED);
    expect_turns(fixture, "cdcd");
    sky_health_answered(servers[1]);
    expect_turns(fixture, "bb");
    for (int i = 0; i < 4; ++i)
        sky_health_failed(servers[i], SKY_FAILURE_REFUSED);
    sky_health_failed(servers[1], SKY_FAILURE_REFUSED);
    assert_true(letter_of(choose(fixture->upstream)) < 'c'); /* all are down */
    tear_down(fixture);
}

static void the_least_busy_comes_first(void **state)
{
    struct fixture *fixture = set_up("12", SKY_BALANCE_LEAST_CONN);
    struct sky_turn turns[6] = {{0}};
    char found[7] = "";

    (void)state;
    for (size_t i = 0; i < 6; ++i)
        found[i] = take(&turns[i], fixture);
    assert_string_equal(found, "babbab"); /* a third each for a, two for b */
    assert_int_equal(fixture->upstream->servers[0]->share->active, 2);
    assert_int_equal(fixture->upstream->servers[1]->share->active, 4);
    sky_turn_end(&turns[1]);
    sky_turn_end(&turns[4]);
    sky_turn_end(&turns[4]); /* harmless */
    expect_turns(fixture, "aaaa");
    for (size_t i = 0; i < 6; ++i)
        sky_turn_end(&turns[i]);
    assert_int_equal(fixture->upstream->servers[0]->share->active, 0);
    assert_int_equal(fixture->upstream->servers[1]->share->active, 0);
    tear_down(fixture);
}

static void a_request_tries_each_server_once(void **state)
{
    struct fixture *fixture = set_up("11B1", SKY_BALANCE_ROUND_ROBIN);
    struct sky_turn turn = {0};

    (void)state;
    assert_int_equal(take(&turn, fixture), 'a');
    assert_int_equal(next(&turn), 'b');
    assert_int_equal(next(&turn), 'c');
    assert_int_equal(sky_turn_next(&turn, NULL), SKY_TURN_NONE);
    assert_int_equal(letter_of(turn.server), 'c'); /* still held */
    assert_int_equal(fixture->upstream->servers[0]->share->active, 0);
    assert_int_equal(fixture->upstream->servers[2]->share->active, 1);
    sky_turn_end(&turn);
    tear_down(fixture);
    fixture = set_up("1", SKY_BALANCE_ROUND_ROBIN);
    turn = (struct sky_turn){0};
    assert_int_equal(take(&turn, fixture), 'a');
    assert_int_equal(sky_turn_next(&turn, NULL), SKY_TURN_NONE);
    sky_turn_end(&turn);
    tear_down(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heavy_servers_come_often_and_spread),
        cmocka_unit_test(each_round_is_exact),
        cmocka_unit_test(backups_wait_for_all_others),
        cmocka_unit_test(the_least_busy_comes_first),
        cmocka_unit_test(a_request_tries_each_server_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

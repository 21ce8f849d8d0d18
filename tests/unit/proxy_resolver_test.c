/* SPDX-License-Identifier: Apache-2.0 */
/* Names of servers: the name service is this file's getaddrinfo, which libh2o finds before libc's.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/back/health.h"
#include "proxy/back/resolver.h"
#include "proxy/back/turn.h"
#include "tests/unit/upstream_fixture.h"

/* The last numbers of 127.0.0.n, ended by 0: what the name service says. None: it fails. */
static _Atomic unsigned char answer[8];
static _Atomic int asked;
static pthread_mutex_t silence = PTHREAD_MUTEX_INITIALIZER; /* held: it does not answer */

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    struct addrinfo **end = result;

    (void)hints;
    assert_string_equal(name, "app.test");
    pthread_mutex_lock(&silence);
    pthread_mutex_unlock(&silence);
    *result = NULL;
    for (size_t i = 0; answer[i] != 0; ++i, end = &(*end)->ai_next) {
        struct sockaddr_in *in = calloc(1, sizeof(*in));
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)atoi(service));
        in->sin_addr.s_addr = htonl(0x7f000000U + answer[i]);
        *end = calloc(1, sizeof(**end));
        (*end)->ai_family = AF_INET;
        (*end)->ai_addrlen = sizeof(*in);
        (*end)->ai_addr = (struct sockaddr *)in;
    }
    asked++;
    return *result != NULL ? 0 : EAI_AGAIN;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_addr);
        free(list);
        list = next;
    }
}

static void say(const char *hosts)
{
    for (size_t i = 0; i < sizeof(answer); ++i) {
        answer[i] = (unsigned char)(*hosts != '\0' ? *hosts - '0' : 0);
        hosts += *hosts != '\0';
    }
}

struct bench {
    struct upstream_fixture fixture;
    struct sky_fleet fleet;
    struct sky_resolver *resolver;
};

static void begin(struct bench *bench, const char *hosts)
{
    say(hosts);
    asked = 0;
    upstream_fixture_init(&bench->fixture, "app.test:80", 1000);
    bench->fixture.upstream_config.resolve_ms = 20;
    bench->fixture.upstream_config.max_fails = 1;
    bench->fixture.upstream_config.fail_timeout_ms = 60000;
    bench->fixture.upstream->patience.timeout = 10000;
    bench->fleet = (struct sky_fleet){.rosters = &bench->fixture.roster, .count = 1};
    bench->resolver =
        sky_resolver_new(&bench->fixture.ctx, &bench->fleet, &bench->fixture.counters);
}

static void end(struct bench *bench)
{
    sky_resolver_destroy(bench->resolver);
    sky_resolver_end(bench->fixture.ctx.loop);
    upstream_fixture_fini(&bench->fixture);
}

/* Turns the loop until the name service has been asked twice more: the answer before is in. */
static void wait_for_answer(struct bench *bench)
{
    int before = asked;

    for (int i = 0; i < 1000 && asked < before + 3; ++i)
        h2o_evloop_run(bench->fixture.ctx.loop, 10);
    assert_true(asked >= before + 3);
}

struct request {
    struct sky_turn turn; /* first */
    bool done;
    enum sky_failure failure;
};

static void on_done(struct sky_turn *turn, enum sky_failure failure)
{
    struct request *request = (struct request *)turn;

    request->done = true;
    request->failure = failure;
}

/* The last number of the address that the request has. */
static char host_of(const struct sky_upstream_server *server)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&server->addresses[0];

    assert_int_equal(ntohs(in->sin_port), 80);
    return (char)('0' + (ntohl(in->sin_addr.s_addr) & 255));
}

/* One request after the other, each ended before the next. */
static void expect_turns(struct bench *bench, const char *hosts)
{
    char found[16] = "";

    for (size_t i = 0; hosts[i] != '\0'; ++i) {
        struct request request = {.done = false};
        enum sky_turn_result result =
            sky_turn_take(&request.turn, bench->fixture.upstream, on_done);
        found[i] = result == SKY_TURN_HELD ? host_of(request.turn.server) : 'x';
        sky_turn_end(&request.turn);
    }
    assert_string_equal(found, hosts);
}

static void requests_wait_for_the_first_answer(void **state)
{
    struct bench bench;
    struct request requests[2] = {{.done = false}};

    (void)state;
    begin(&bench, "23");
    for (int i = 0; i < 2; ++i)
        assert_int_equal(sky_turn_take(&requests[i].turn, bench.fixture.upstream, on_done),
                         SKY_TURN_QUEUED);
    for (int i = 0; i < 1000 && !requests[1].done; ++i)
        h2o_evloop_run(bench.fixture.ctx.loop, 10);
    for (int i = 0; i < 2; ++i) {
        assert_int_equal(requests[i].failure, SKY_FAILURE_NONE);
        assert_int_equal(host_of(requests[i].turn.server), '2' + i);
        sky_turn_end(&requests[i].turn);
    }
    assert_string_equal(bench.fixture.upstream->servers[1]->member->label,
                        "app.test:80 (127.0.0.3)");
    expect_turns(&bench, "232323");
    end(&bench);
}

static void a_name_that_there_is_not(void **state)
{
    struct bench bench;
    struct request request = {.done = false};

    (void)state;
    begin(&bench, "");
    assert_int_equal(sky_turn_take(&request.turn, bench.fixture.upstream, on_done),
                     SKY_TURN_QUEUED);
    for (int i = 0; i < 1000 && !request.done; ++i)
        h2o_evloop_run(bench.fixture.ctx.loop, 10);
    assert_int_equal(request.failure, SKY_FAILURE_RESOLVE);
    assert_int_equal(sky_turn_take(&request.turn, bench.fixture.upstream, on_done), SKY_TURN_NONE);
    say("4");
    wait_for_answer(&bench);
    expect_turns(&bench, "44");
    say(""); /* the last answer stays */
    wait_for_answer(&bench);
    expect_turns(&bench, "44");
    end(&bench);
}

static void who_is_gone_gets_no_more(void **state)
{
    struct bench bench;
    struct request running = {.done = false};
    int fds[2];

    (void)state;
    begin(&bench, "23");
    wait_for_answer(&bench);
    assert_int_equal(sky_turn_take(&running.turn, bench.fixture.upstream, on_done), SKY_TURN_HELD);
    bench.fixture.server = running.turn.server;
    assert_int_equal(host_of(bench.fixture.server), '2');
    sky_upstream_give_back(upstream_fixture_pair(&bench.fixture, &fds[0]));
    struct sky_upstream_conn *busy = upstream_fixture_pair(&bench.fixture, &fds[1]);
    say("32"); /* the same in another order is no news */
    wait_for_answer(&bench);
    assert_int_equal(bench.fixture.roster->version, 1);
    say("34");
    wait_for_answer(&bench);
    expect_turns(&bench, "3434");
    assert_true(running.turn.server->has_gone);
    assert_int_equal(running.turn.server->idle_count, 0);
    assert_int_equal(read(fds[0], &(char){0}, 1), 0); /* the idle connection was closed */
    sky_upstream_give_back(busy);
    assert_int_equal(read(fds[1], &(char){0}, 1), 0);
    assert_int_equal(bench.fixture.upstream->gone_count, 1);
    sky_turn_end(&running.turn);
    say("2345"); /* back again: afresh */
    wait_for_answer(&bench);
    expect_turns(&bench, "34253425");
    assert_int_equal(bench.fixture.upstream->gone_count, 0);
    for (int i = 0; i < 2; ++i)
        close(fds[i]);
    end(&bench);
}

/* As who waited for a connection to the one that is gone. */
static void who_has_tried_what_is_gone_tries_the_new_one(void **state)
{
    struct bench bench;
    struct request request = {.done = false};

    (void)state;
    begin(&bench, "2");
    wait_for_answer(&bench);
    assert_int_equal(sky_turn_take(&request.turn, bench.fixture.upstream, on_done), SKY_TURN_HELD);
    assert_int_equal(sky_turn_next(&request.turn, on_done), SKY_TURN_NONE);
    say("3");
    wait_for_answer(&bench);
    assert_int_equal(sky_turn_next(&request.turn, on_done), SKY_TURN_HELD);
    assert_int_equal(host_of(request.turn.server), '3');
    assert_int_equal(sky_turn_next(&request.turn, on_done), SKY_TURN_NONE);
    sky_turn_end(&request.turn);
    end(&bench);
}

static void each_address_is_a_server(void **state)
{
    struct bench bench;
    struct request requests[3] = {{.done = false}};

    (void)state;
    begin(&bench, "23");
    wait_for_answer(&bench);
    expect_turns(&bench, "2323");
    sky_health_failed(bench.fixture.upstream->servers[0], SKY_FAILURE_REFUSED);
    expect_turns(&bench, "3333");
    sky_health_answered(bench.fixture.upstream->servers[0]);
    /* max_connections are each one's own */
    bench.fixture.upstream_config.queue.max = 1;
    bench.fixture.server_config.max_connections = 1;
    bench.fixture.roster->limited = true;
    assert_int_equal(sky_turn_take(&requests[0].turn, bench.fixture.upstream, on_done),
                     SKY_TURN_HELD);
    assert_int_equal(sky_turn_take(&requests[1].turn, bench.fixture.upstream, on_done),
                     SKY_TURN_HELD);
    assert_int_equal(sky_turn_take(&requests[2].turn, bench.fixture.upstream, on_done),
                     SKY_TURN_QUEUED);
    for (int i = 0; i < 3; ++i)
        sky_turn_end(&requests[i].turn);
    end(&bench);
}

static void a_reload_knows_them_at_once(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, "23");
    wait_for_answer(&bench);
    struct sky_roster *former = bench.fixture.roster;
    former->members[1]->unwell = true;
    struct sky_roster *heir = sky_roster_new(&bench.fixture.upstream_config, 1);
    assert_int_equal(heir->unanswered, 1);
    sky_roster_inherit(heir, former);
    assert_int_equal(heir->unanswered, 0);
    assert_int_equal(heir->member_count, 2);
    for (size_t i = 0; i < 2; ++i) {
        assert_string_equal(heir->members[i]->label, former->members[i]->label);
        assert_int_equal(heir->members[i]->unwell, i == 1);
    }
    sky_roster_destroy(heir);
    end(&bench);
}

static void a_reload_asks_again_for_what_failed(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, "");
    wait_for_answer(&bench);
    sky_resolver_destroy(bench.resolver);
    bench.fixture.upstream_config.resolve_ms = 60000;
    say("4");
    bench.resolver = sky_resolver_new(&bench.fixture.ctx, &bench.fleet, &bench.fixture.counters);
    for (int i = 0; i < 1000 && bench.fixture.roster->member_count == 0; ++i)
        h2o_evloop_run(bench.fixture.ctx.loop, 10);
    expect_turns(&bench, "44");
    end(&bench);
}

static bool turned;

static void on_turn(h2o_timeout_entry_t *entry)
{
    (void)entry;
    turned = true;
}

/* A resolver may go while others are served, so the loop must not turn below its end. */
static void a_lookup_outlives_its_resolver(void **state)
{
    h2o_timeout_entry_t timer = {.cb = on_turn};
    struct bench bench;

    (void)state;
    begin(&bench, "2");
    pthread_mutex_lock(&silence);
    for (int i = 0; i < 3; ++i)
        h2o_evloop_run(bench.fixture.ctx.loop, 0);
    h2o_timeout_link(bench.fixture.ctx.loop, &bench.fixture.ctx.zero_timeout, &timer);
    sky_resolver_destroy(bench.resolver);
    assert_false(turned);
    pthread_mutex_unlock(&silence);
    sky_resolver_end(bench.fixture.ctx.loop);
    assert_int_equal(asked, 1);
    assert_int_equal(bench.fixture.roster->member_count, 0);
    h2o_timeout_unlink(&timer);
    upstream_fixture_fini(&bench.fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_wait_for_the_first_answer),
        cmocka_unit_test(a_name_that_there_is_not),
        cmocka_unit_test(who_is_gone_gets_no_more),
        cmocka_unit_test(who_has_tried_what_is_gone_tries_the_new_one),
        cmocka_unit_test(each_address_is_a_server),
        cmocka_unit_test(a_reload_knows_them_at_once),
        cmocka_unit_test(a_reload_asks_again_for_what_failed),
        cmocka_unit_test(a_lookup_outlives_its_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

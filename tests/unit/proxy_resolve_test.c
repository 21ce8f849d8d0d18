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
#include <unistd.h>

#include <cmocka.h>

#include "proxy/back/dial.h"
#include "proxy/back/resolve.h"
#include "tests/unit/upstream_fixture.h"

/* What the name service says: '4' and '6' are the loopback addresses, "" is a failure. */
static char answer[8];
static _Atomic int asked;
static pthread_mutex_t silence = PTHREAD_MUTEX_INITIALIZER; /* held: it does not answer */
static uint16_t port;

static struct addrinfo *new_node(char family)
{
    struct addrinfo *node = calloc(1, sizeof(*node));

    node->ai_family = family == '4' ? AF_INET : AF_INET6;
    node->ai_addrlen = family == '4' ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    node->ai_addr = calloc(1, node->ai_addrlen);
    node->ai_addr->sa_family = (sa_family_t)node->ai_family;
    if (family == '4') {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)node->ai_addr;
        in->sin_port = htons(port);
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)node->ai_addr;
        in6->sin6_port = htons(port);
        in6->sin6_addr = in6addr_loopback;
    }
    return node;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    struct addrinfo **end = result;

    (void)service;
    (void)hints;
    assert_string_equal(name, "app.test");
    pthread_mutex_lock(&silence);
    pthread_mutex_unlock(&silence);
    *result = NULL;
    for (const char *at = answer; *at != '\0'; ++at, end = &(*end)->ai_next)
        *end = new_node(*at);
    asked++;
    return answer[0] != '\0' ? 0 : EAI_AGAIN;
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

/* Listens on the port with both families; false on a machine without IPv6. */
static bool listen_on_both(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof(in);
    int on = 1;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(fds[0], 16), 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&in, &len), 0);
    port = ntohs(in.sin_port);
    in6.sin6_port = in.sin_port;
    if (fds[1] == -1)
        return false;
    setsockopt(fds[1], IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    return bind(fds[1], (struct sockaddr *)&in6, sizeof(in6)) == 0 && listen(fds[1], 16) == 0;
}

struct call {
    struct sky_dial dial; /* first */
    bool done;
    struct sky_upstream_conn *conn;
    enum sky_failure failure;
};

static void on_done(struct sky_dial *dial, struct sky_upstream_conn *conn, enum sky_failure failure)
{
    struct call *call = (struct call *)dial;

    call->done = true;
    call->conn = conn;
    call->failure = failure;
}

static struct call dial(struct upstream_fixture *fixture)
{
    struct call call = {.done = false};

    sky_dial_start(&call.dial, fixture->server, on_done);
    for (int i = 0; i < 1000 && !call.done; ++i)
        h2o_evloop_run(fixture->ctx.loop, 10);
    assert_true(call.done);
    return call;
}

static char family_of(const struct sky_upstream_conn *conn)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);

    assert_int_equal(getpeername(h2o_socket_get_fd(conn->sock), (struct sockaddr *)&peer, &len), 0);
    return peer.ss_family == AF_INET ? '4' : '6';
}

/* One dial after the other; where each came to, 'x' for a failure. */
static void expect_dials(struct upstream_fixture *fixture, const char *families)
{
    char found[16] = "";

    for (size_t i = 0; families[i] != '\0'; ++i) {
        struct call call = dial(fixture);
        found[i] = call.conn != NULL ? family_of(call.conn) : 'x';
        if (call.conn != NULL)
            sky_upstream_close(call.conn);
    }
    assert_string_equal(found, families);
}

/* As if the last answer were so old. */
static void age(struct upstream_fixture *fixture, uint64_t ms)
{
    fixture->server->resolved_ms = h2o_now(fixture->ctx.loop) - ms;
}

static void wait_for_answer(struct upstream_fixture *fixture)
{
    for (int i = 0; i < 1000 && fixture->server->lookup != NULL; ++i)
        h2o_evloop_run(fixture->ctx.loop, 10);
}

static void set_up(struct upstream_fixture *fixture)
{
    upstream_fixture_init(fixture, "app.test:80", 1000);
    fixture->upstream_config.resolve_ms = 1000;
    fixture->upstream_config.fail_timeout_ms = 60000;
    asked = 0;
}

static void addresses_are_taken_in_turn(void **state)
{
    struct upstream_fixture fixture;
    int fds[2];

    (void)state;
    if (!listen_on_both(fds))
        skip();
    set_up(&fixture);
    strcpy(answer, "46");
    expect_dials(&fixture, "464646");
    assert_int_equal(asked, 1);
    /* one fails: the dial goes on to the other, and those to come begin there */
    close(fds[1]);
    expect_dials(&fixture, "44444");
    /* both do: both are tried all the same */
    close(fds[0]);
    expect_dials(&fixture, "xx");
    upstream_fixture_fini(&fixture);
}

static void an_old_answer_is_asked_for_again(void **state)
{
    struct upstream_fixture fixture;
    int fds[2];

    (void)state;
    if (!listen_on_both(fds))
        skip();
    set_up(&fixture);
    strcpy(answer, "4");
    expect_dials(&fixture, "44");
    strcpy(answer, "6");
    age(&fixture, 1000); /* not waited for */
    expect_dials(&fixture, "4");
    wait_for_answer(&fixture);
    assert_int_equal(asked, 2);
    expect_dials(&fixture, "66");
    assert_int_equal(asked, 2);
    strcpy(answer, "4");
    age(&fixture, 2000); /* waited for */
    expect_dials(&fixture, "4");
    /* the name service fails: its last answer goes on */
    answer[0] = '\0';
    age(&fixture, 2000);
    expect_dials(&fixture, "44");
    assert_int_equal(asked, 4);
    for (int i = 0; i < 2; ++i)
        close(fds[i]);
    upstream_fixture_fini(&fixture);
}

static void connections_to_what_is_gone_are_not_kept(void **state)
{
    struct upstream_fixture fixture;
    int fds[2];

    (void)state;
    if (!listen_on_both(fds))
        skip();
    set_up(&fixture);
    strcpy(answer, "46");
    struct call calls[2] = {dial(&fixture), dial(&fixture)};
    assert_int_equal(family_of(calls[0].conn), '4');
    strcpy(answer, "64"); /* the same, shuffled */
    age(&fixture, 2000);
    sky_upstream_close(dial(&fixture).conn);
    assert_int_equal(fixture.server->answers, 1);
    strcpy(answer, "6");
    age(&fixture, 2000);
    sky_upstream_close(dial(&fixture).conn);
    assert_int_equal(fixture.server->answers, 2);
    sky_upstream_give_back(calls[0].conn);
    assert_int_equal(fixture.server->idle_count, 0);
    sky_upstream_give_back(calls[1].conn);
    assert_int_equal(fixture.server->idle_count, 1);
    for (int i = 0; i < 2; ++i)
        close(fds[i]);
    upstream_fixture_fini(&fixture);
}

static void no_answer_at_all(void **state)
{
    struct upstream_fixture fixture;

    (void)state;
    set_up(&fixture);
    answer[0] = '\0';
    assert_int_equal(dial(&fixture).failure, SKY_FAILURE_RESOLVE);
    upstream_fixture_fini(&fixture);
}

static bool turned;

static void on_turn(h2o_timeout_entry_t *entry)
{
    (void)entry;
    turned = true;
}

/* An upstream may go while others serve, so the loop must not turn below its end. */
static void a_lookup_outlives_its_upstream(void **state)
{
    h2o_timeout_entry_t timer = {.cb = on_turn};
    struct upstream_fixture fixture;
    struct call call = {.done = false};

    (void)state;
    set_up(&fixture);
    strcpy(answer, "4");
    struct sky_upstream *gone =
        sky_upstream_new(&fixture.ctx, fixture.roster, 0, &fixture.config, &fixture.counters);
    pthread_mutex_lock(&silence);
    sky_dial_start(&call.dial, gone->servers[0], on_done);
    sky_dial_cancel(&call.dial);
    h2o_timeout_link(fixture.ctx.loop, &fixture.ctx.zero_timeout, &timer);
    sky_upstream_destroy(gone);
    assert_false(turned);
    pthread_mutex_unlock(&silence);
    sky_resolve_end(fixture.ctx.loop);
    assert_int_equal(asked, 1);
    assert_false(call.done);
    h2o_timeout_unlink(&timer);
    upstream_fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_taken_in_turn),
        cmocka_unit_test(an_old_answer_is_asked_for_again),
        cmocka_unit_test(connections_to_what_is_gone_are_not_kept),
        cmocka_unit_test(no_answer_at_all),
        cmocka_unit_test(a_lookup_outlives_its_upstream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

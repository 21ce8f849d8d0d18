/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/upstream_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

void upstream_fixture_init(struct upstream_fixture *fixture, const char *address,
                           uint32_t response_ms)
{
    *fixture = (struct upstream_fixture){0};
    h2o_config_init(&fixture->globalconf);
    h2o_config_register_host(&fixture->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_context_init(&fixture->ctx, h2o_evloop_create(), &fixture->globalconf);
    assert_null(sky_address_parse(address, &fixture->server_config.address));
    fixture->server_config.weight = 1;
    fixture->upstream_config = (struct sky_upstream_config){
        .name = (char *)(uintptr_t) "app", .servers = &fixture->server_config, .server_count = 1};
    fixture->upstream_config.resolve_ms = 1000;
    fixture->config.timeouts.connect_ms = 10000;
    fixture->config.timeouts.response_ms = response_ms;
    fixture->config.timeouts.upstream_idle_ms = 1000;
    fixture->roster = sky_roster_new(&fixture->upstream_config, 1);
    fixture->upstream =
        sky_upstream_new(&fixture->ctx, fixture->roster, 0, &fixture->config, &fixture->counters);
    fixture->server = fixture->upstream->server_count != 0 ? fixture->upstream->servers[0] : NULL;
}

void upstream_fixture_fini(struct upstream_fixture *fixture)
{
    h2o_loop_t *loop = fixture->ctx.loop;

    sky_upstream_destroy(fixture->upstream);
    sky_roster_destroy(fixture->roster);
    h2o_context_dispose(&fixture->ctx);
    h2o_evloop_destroy(loop);
    h2o_config_dispose(&fixture->globalconf);
    sky_address_fini(&fixture->server_config.address);
}

struct sky_upstream_conn *upstream_fixture_pair(struct upstream_fixture *fixture, int *fd)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *fd = fds[1];
    return sky_upstream_adopt(fixture->server, h2o_evloop_socket_create(fixture->ctx.loop, fds[0],
                                                                        H2O_SOCKET_FLAG_DONT_READ));
}

void upstream_fixture_settle(struct upstream_fixture *fixture)
{
    for (int i = 0; i < 50; ++i)
        h2o_evloop_run(fixture->ctx.loop, 0);
}

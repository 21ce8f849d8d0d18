/* SPDX-License-Identifier: Apache-2.0 */
/* An upstream with one server on a loop that the test turns itself. */
#ifndef SKY_TESTS_UNIT_UPSTREAM_FIXTURE_H
#define SKY_TESTS_UNIT_UPSTREAM_FIXTURE_H

#include <h2o.h>

#include "proxy/back/upstream.h"
#include "proxy/config/config.h"

struct upstream_fixture {
    h2o_globalconf_t globalconf;
    h2o_context_t ctx;
    struct sky_config config; /* connect 10 s, idle 1 s; response as given */
    struct sky_server_config server_config;
    struct sky_upstream_config upstream_config;
    struct sky_counters counters;
    struct sky_roster *roster;
    struct sky_upstream *upstream;
    struct sky_upstream_server *server; /* NULL: the address is a name */
};

void upstream_fixture_init(struct upstream_fixture *fixture, const char *address,
                           uint32_t response_ms);
void upstream_fixture_fini(struct upstream_fixture *fixture);

/* upstream_fixture_pair: a connection of the server whose other end is *fd (non-blocking). */
struct sky_upstream_conn *upstream_fixture_pair(struct upstream_fixture *fixture, int *fd);

/* upstream_fixture_settle: turns the loop until nothing is left to do. */
void upstream_fixture_settle(struct upstream_fixture *fixture);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The three lists of the configuration: where we listen, upstreams with their servers, routes. */
#ifndef SKY_PROXY_CONFIG_CONFIG_LIST_H
#define SKY_PROXY_CONFIG_CONFIG_LIST_H

#include <stddef.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

/* What an error line says of addresses. */
#define SKY_ACCEPTED_ADDRESS "host:port, [v6]:port, :port or unix:/path"

/* All add functions append and return NULL, or a static sentence: then nothing was added. */

const char *sky_config_add_listener(struct sky_config *config, const char *address);

/* sky_config_add_certificate: to those of a listener; copies the names of the files. */
const char *sky_config_add_certificate(struct sky_tls_config *tls, const char *certificate,
                                       const char *key);

/* sky_config_add_upstream: with the defaults of its options; copies the name; *upstream is valid
 * until the next one is added. */
const char *sky_config_add_upstream(struct sky_config *config, const char *name,
                                    struct sky_upstream_config **upstream);

/* sky_config_add_server: `:port` is 127.0.0.1:port. */
const char *sky_config_add_server(struct sky_upstream_config *upstream, const char *address);

/* sky_config_check_host: NULL, or what is wrong with the host of a route. */
const char *sky_config_check_host(const char *host);

/* sky_config_add_route: after all upstreams. host may be NULL, "default", a name or "*.name". The
 * caller sets the upstream; *route is valid until the next one is added. Order: names first, then
 * the longest "*.name", then routes without a host; within a host the longest prefix. */
const char *sky_config_add_route(struct sky_config *config, const char *host, const char *path,
                                 struct sky_route_config **route);

/* sky_config_find_upstream: by name; NULL when there is none. */
struct sky_upstream_config *sky_config_find_upstream(const struct sky_config *config,
                                                     const char *name);

/* sky_config_clear_...: empty the list again; an upstream takes the routes with it. */
void sky_config_clear_listeners(struct sky_config *config);
void sky_config_clear_upstreams(struct sky_config *config);

/* sky_config_replace_listeners: these addresses in place of all others. Defects are reported as of
 * place and name. */
void sky_config_replace_listeners(struct sky_config *config, const struct sky_strings *items,
                                  const char *place, const char *name,
                                  struct sky_problems *problems);

/* sky_config_replace_upstreams: one upstream `app` with these servers and the route / to it, in
 * place of all upstreams and routes. */
void sky_config_replace_upstreams(struct sky_config *config, const struct sky_strings *items,
                                  const char *place, const char *name,
                                  struct sky_problems *problems);

#endif

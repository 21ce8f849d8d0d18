/* SPDX-License-Identifier: Apache-2.0 */
/* The three lists of the configuration: where we listen, upstreams with their servers, routes. */
#ifndef SKY_PROXY_CONFIG_LIST_H
#define SKY_PROXY_CONFIG_LIST_H

#include <stddef.h>

#include "proxy/config.h"
#include "proxy/config_problem.h"

/* What an error line says of addresses. */
#define SKY_ACCEPTED_ADDRESS "host:port, [v6]:port, :port or unix:/path"

/* All add functions append and return NULL, or a static sentence: then nothing was added. */

const char *sky_config_add_listener(struct sky_config *config, const char *address);

/* sky_config_add_upstream: copies the name; *upstream is valid until the next one is added. */
const char *sky_config_add_upstream(struct sky_config *config, const char *name,
                                    struct sky_upstream_config **upstream);

/* sky_config_add_server: `:port` is 127.0.0.1:port. */
const char *sky_config_add_server(struct sky_upstream_config *upstream, const char *address);

/* sky_config_add_route: after all upstreams. The longest prefix is put first. */
const char *sky_config_add_route(struct sky_config *config, const char *path,
                                 const struct sky_upstream_config *upstream);

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

/* SPDX-License-Identifier: Apache-2.0 */
/* The part of libh2o's configuration that every loop of ours uses: one host, one path. */
#ifndef SKY_PROXY_CONFIG_SITE_H
#define SKY_PROXY_CONFIG_SITE_H

#include <h2o.h>

struct sky_site {
    h2o_globalconf_t globalconf;
    h2o_pathconf_t *path; /* "/": where handlers are registered */
};

/* sky_site_init: libh2o's defaults without what we do not want: its Server field, its log of each
 * refused request on stderr, its upgrade to HTTP/2. Register handlers before the first
 * h2o_context_init. Contexts of several threads may share a site. */
void sky_site_init(struct sky_site *site);

/* sky_site_fini: no context may use the site any more. */
void sky_site_fini(struct sky_site *site);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/site.h"

#include "proxy/front/http1_front.h"

void sky_site_init(struct sky_site *site)
{
    h2o_config_init(&site->globalconf);
    site->globalconf.server_name = h2o_iovec_init(NULL, 0);
    site->globalconf.http1.upgrade_to_http2 = 0;
    h2o_hostconf_t *host =
        h2o_config_register_host(&site->globalconf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    site->path = h2o_config_register_path(host, "/", 0);
    site->path->error_log.emit_request_errors = 0;
    host->fallback_path.error_log.emit_request_errors = 0;
    sky_front_prepare(&site->globalconf);
}

void sky_site_fini(struct sky_site *site)
{
    h2o_config_dispose(&site->globalconf);
}

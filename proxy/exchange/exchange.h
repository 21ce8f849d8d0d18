/* SPDX-License-Identifier: Apache-2.0 */
/* One request's life between client and upstream: the h2o handler that traces, forwards and
 * answers. Its states and failures: exchange.c. */
#ifndef SKY_PROXY_EXCHANGE_EXCHANGE_H
#define SKY_PROXY_EXCHANGE_EXCHANGE_H

#include <h2o.h>

/* sky_exchange_register: installs the handler on a path; requests find their worker by
 * sky_worker_of and their route in worker->config. */
void sky_exchange_register(h2o_pathconf_t *path);

#endif

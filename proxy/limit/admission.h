/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an accepted socket becomes a client connection. */
#ifndef SKY_PROXY_LIMIT_ADMISSION_H
#define SKY_PROXY_LIMIT_ADMISSION_H

#include <h2o.h>
#include <stdbool.h>

struct sky_listener_config;
struct sky_worker;

/* sky_admit_address: the second part of the below, for a peer that is known only later. False: it
 * was counted, and the socket is left to the caller. */
bool sky_admit_address(struct sky_worker *worker, h2o_socket_t *sock,
                       const struct sky_listener_config *listener);

/* sky_admit: within limits.connections, for which the worker's connection that has been idle for
 * longest makes room, and within connections_per_address. Else false: the client was told, as far
 * as it can be, and the socket is closed. Either way it is counted. */
bool sky_admit(struct sky_worker *worker, h2o_socket_t *sock,
               const struct sky_listener_config *listener);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a process started by root gives up once its sockets are open: options user and group. */
#ifndef SKY_PROXY_OPERATION_PRIVILEGES_H
#define SKY_PROXY_OPERATION_PRIVILEGES_H

#include <stdbool.h>

#include "proxy/config/config.h"

/* sky_privileges_check: whether user and group exist; each one that does not gets a line in the
 * log. */
bool sky_privileges_check(const struct sky_config *config);

/* sky_privileges_give: makes an open file one of whom the process becomes. -1 with errno. */
int sky_privileges_give(const struct sky_config *config, int fd);

/* sky_privileges_drop: becomes the user, with the group (its own, if none is given) and its other
 * groups, for all threads of the process and for good; a program that it executes gets no more
 * either. To be called once what only root may open is open. Without the options: nothing. Of a
 * process that is that user already, as after USR2: nothing. -1 after a line in the log. */
int sky_privileges_drop(const struct sky_config *config);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The two messages that tell OAP who we are; they never change while the process runs. */
#ifndef SKY_REPORTER_IDENTITY_H
#define SKY_REPORTER_IDENTITY_H

#include "reporter/packets.h"
#include "reporter/reporter.h"

/* sky_identity_properties, sky_identity_keep_alive: InstanceProperties and InstancePingPkg, packed.
 * The caller's; NULL when memory is out. */
struct sky_packet *sky_identity_properties(const struct sky_reporter_options *options);
struct sky_packet *sky_identity_keep_alive(const struct sky_reporter_options *options);

#endif

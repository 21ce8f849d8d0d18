/* SPDX-License-Identifier: Apache-2.0 */
/* What the instance tells OAP about itself: instance properties. */
#ifndef SKY_PROXY_TRACE_IDENTITY_H
#define SKY_PROXY_TRACE_IDENTITY_H

#include <stddef.h>

#include "proxy/config/config.h"
#include "reporter/reporter.h"

#define SKY_IDENTITY_MAX 64

struct sky_identity {
    struct sky_property properties[SKY_IDENTITY_MAX];
    size_t count;
    char texts[9216]; /* what the properties point into */
    size_t used;
};

/* sky_identity_init: language, OS Name, hostname, Process No., one ipv4 per address of an interface
 * that is up and not loopback, namespace, skystitch version, and agent.properties. */
void sky_identity_init(struct sky_identity *identity, const struct sky_config *config);

#endif

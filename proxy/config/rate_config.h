/* SPDX-License-Identifier: Apache-2.0 */
/* A rate of requests, as the configuration has it. */
#ifndef SKY_PROXY_CONFIG_RATE_CONFIG_H
#define SKY_PROXY_CONFIG_RATE_CONFIG_H

#include <stdint.h>

struct sky_frequency {
    uint32_t count; /* 0: off */
    uint32_t period_s;
};

struct sky_rate_config {
    struct sky_frequency rate;
    uint32_t burst; /* requests that may come at once, at least 1 */
};

#endif

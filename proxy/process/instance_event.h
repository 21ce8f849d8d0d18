/* SPDX-License-Identifier: Apache-2.0 */
/* Start and stop of the proxy as events of the instance. */
#ifndef SKY_PROXY_PROCESS_INSTANCE_EVENT_H
#define SKY_PROXY_PROCESS_INSTANCE_EVENT_H

#include "proxy/config/config.h"
#include "reporter/reporter.h"

/* sky_instance_event_now_ms: since 1970. */
int64_t sky_instance_event_now_ms(void);

/* sky_instance_event: offers an event that began at start_ms and is over now, if reporter.events is
 * on and there is a way for it. */
void sky_instance_event(const struct sky_config *config, struct sky_reporter *reporter,
                        const char *name, const char *message, int64_t start_ms);

#endif

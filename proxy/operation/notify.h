/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told of this process (sd_notify(3)): one datagram to NOTIFY_SOCKET, so that no
 * library is needed. Without that variable nothing is done. Main thread. */
#ifndef SKY_PROXY_OPERATION_NOTIFY_H
#define SKY_PROXY_OPERATION_NOTIFY_H

#include <stdint.h>

/* sky_notify: lines as READY=1, parted by '\n'. */
void sky_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* sky_notify_watchdog_ms: how often WATCHDOG=1 is due, twice as often as systemd asks; 0: never. */
uint32_t sky_notify_watchdog_ms(void);

/* sky_notify_monotonic_us: what RELOADING=1 has to bear as MONOTONIC_USEC. */
uint64_t sky_notify_monotonic_us(void);

#endif

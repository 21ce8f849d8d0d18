/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of records, as the agents of SkyWalking write them. */
#ifndef SKY_REPORTER_KAFKA_KEY_H
#define SKY_REPORTER_KAFKA_KEY_H

#include "reporter/transport.h"

#define SKY_KAFKA_KEY_BYTES 1024

/* sky_kafka_key: a segment's own id; "register-" and the instance for properties, which OAP's
 * fetcher tells from signs of life by that; the instance; for a log record the id of its segment,
 * or without one the service. Returns the length; no NUL is needed. */
size_t sky_kafka_key(char key[SKY_KAFKA_KEY_BYTES], enum sky_call_kind kind,
                     const struct sky_packet *packet);

#endif

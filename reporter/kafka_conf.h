/* SPDX-License-Identifier: Apache-2.0 */
/* What librdkafka is told: our defaults, and the user's properties over them. */
#ifndef SKY_REPORTER_KAFKA_CONF_H
#define SKY_REPORTER_KAFKA_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "reporter/reporter.h"

struct rd_kafka_conf_s;

/* sky_kafka_conf_new: the caller's; NULL with a message in `error`, as "no.such: No such
 * configuration property". */
struct rd_kafka_conf_s *sky_kafka_conf_new(const struct sky_reporter_options *options, char *error,
                                           size_t error_size);

/* sky_kafka_check: whether properties are known and their values possible. */
bool sky_kafka_check(const struct sky_kafka *kafka, char *error, size_t error_size)
    __attribute__((warn_unused_result));

/* sky_kafka_topic: the topic with its namespace; heap, NULL when memory is out. */
char *sky_kafka_topic(const struct sky_kafka *kafka, const char *name);

#endif

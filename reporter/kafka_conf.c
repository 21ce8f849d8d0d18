/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults that differ from librdkafka's: its queue is as small as our batches are, since what it
 * holds counts against no bound of ours; and a record that is not through after a call's deadline
 * comes back to the backlog. */
#include "reporter/kafka_conf.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sender's calls at a time, with room for keys. */
#define QUEUED_BATCHES 5
#define MIN_QUEUE_KIB 1024

static bool set(rd_kafka_conf_t *conf, const char *key, const char *value, char *error,
                size_t error_size)
{
    char why[200];

    if (rd_kafka_conf_set(conf, key, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
        return true;
    snprintf(error, error_size, "%s: %s", key, why);
    return false;
}

static bool set_property(rd_kafka_conf_t *conf, const char *property, char *error,
                         size_t error_size)
{
    const char *equals = strchr(property, '=');
    char *key = strndup(property, (size_t)(equals - property));

    if (key == NULL) {
        snprintf(error, error_size, "memory is out");
        return false;
    }
    bool is_set = set(conf, key, equals + 1, error, error_size);
    free(key);
    return is_set;
}

static bool set_all(rd_kafka_conf_t *conf, const struct sky_reporter_options *options, char *error,
                    size_t error_size)
{
    char queue_kib[24];
    size_t kib = options->batch_bytes / 1024 * QUEUED_BATCHES;

    snprintf(queue_kib, sizeof(queue_kib), "%zu", kib < MIN_QUEUE_KIB ? MIN_QUEUE_KIB : kib);
    const char *const defaults[][2] = {
        {"client.id", "skystitch"},
        {"message.timeout.ms", "10000"},
        {"queue.buffering.max.kbytes", queue_kib},
        {"queue.buffering.max.messages", "10000000"},
        {"socket.keepalive.enable", "true"},
        {"log.connection.close", "false"},
    };
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (!set(conf, defaults[i][0], defaults[i][1], error, error_size))
            return false;
    }
    for (size_t i = 0; i < options->kafka.property_count; i++) {
        if (!set_property(conf, options->kafka.properties[i], error, error_size))
            return false;
    }
    return options->backend_count == 0 ||
           set(conf, "bootstrap.servers", options->backends[0], error, error_size);
}

struct rd_kafka_conf_s *sky_kafka_conf_new(const struct sky_reporter_options *options, char *error,
                                           size_t error_size)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    if (set_all(conf, options, error, error_size))
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

bool sky_kafka_check(const struct sky_kafka *kafka, char *error, size_t error_size)
{
    const struct sky_reporter_options options = {.kafka = *kafka};
    rd_kafka_conf_t *conf = sky_kafka_conf_new(&options, error, error_size);

    if (conf == NULL)
        return false;
    rd_kafka_conf_destroy(conf);
    return true;
}

char *sky_kafka_topic(const struct sky_kafka *kafka, const char *name)
{
    char *topic;
    bool is_plain = kafka->name_space == NULL || kafka->name_space[0] == '\0';

    if (asprintf(&topic, "%s%s%s", is_plain ? "" : kafka->name_space, is_plain ? "" : "-", name) <
        0)
        return NULL;
    return topic;
}

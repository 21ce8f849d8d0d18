/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the reporter's options against each other and against the files they name. */
#include "proxy/config/config_reporter.h"

#include <stdio.h>
#include <string.h>

#include "proxy/config/config_option.h"
#include "reporter/kafka_conf.h"
#include "reporter/tls.h"

static void complain(struct sky_problems *problems, const char *option, const char *what,
                     const char *accepted)
{
    sky_problem_report(problems,
                       &(struct sky_problem){.option = option, .what = what, .accepted = accepted});
}

struct sky_backend_tls sky_config_backend_tls(const struct sky_config *config)
{
    return (struct sky_backend_tls){
        .enabled = config->reporter.tls.enabled == SKY_SWITCH_ON,
        .ca = config->reporter.tls.ca,
        .certificate = config->reporter.tls.certificate,
        .key = config->reporter.tls.key,
        .server_name = config->reporter.tls.server_name,
    };
}

struct sky_kafka sky_config_kafka(const struct sky_config *config)
{
    return (struct sky_kafka){
        .name_space = config->reporter.kafka.name_space,
        .topic_segment = config->reporter.kafka.topic_segment,
        .topic_management = config->reporter.kafka.topic_management,
        .topic_log = config->reporter.kafka.topic_log,
        .topic_meter = config->reporter.kafka.topic_meter,
        .properties = (const char *const *)config->reporter.kafka.properties.items,
        .property_count = config->reporter.kafka.properties.count,
    };
}

/* What the files hold is looked at only where it will be used. */
static void complete_tls(struct sky_config *config, struct sky_problems *problems)
{
    char error[SKY_OPTION_TEXT_BYTES], option[32] = "reporter.tls.";
    struct sky_backend_tls tls = sky_config_backend_tls(config);
    bool is_given = tls.ca[0] != '\0' || tls.certificate[0] != '\0' || tls.key[0] != '\0' ||
                    tls.server_name[0] != '\0';
    if (config->reporter.tls.enabled == SKY_SWITCH_AUTO)
        config->reporter.tls.enabled = is_given ? SKY_SWITCH_ON : SKY_SWITCH_OFF;
    if (config->reporter.protocol != SKY_CONFIG_PROTOCOL_GRPC &&
        config->reporter.protocol != SKY_CONFIG_PROTOCOL_HTTP)
        return;
    if (config->reporter.tls.enabled == SKY_SWITCH_OFF && is_given)
        complain(problems, "reporter.tls.enabled",
                 "is off, but other options of reporter.tls are set",
                 "on or auto, or without them");
    if (config->reporter.tls.enabled == SKY_SWITCH_OFF ||
        sky_backend_tls_check(&tls, error, sizeof(error)))
        return;
    char *what = strchr(error, ':');
    snprintf(option + strlen(option), sizeof(option) - strlen(option), "%.*s", (int)(what - error),
             error);
    complain(problems, option, what + 2, NULL);
}

static void complete_kafka(const struct sky_config *config, struct sky_problems *problems)
{
    char error[SKY_OPTION_TEXT_BYTES];
    struct sky_kafka kafka = sky_config_kafka(config);
    if (config->reporter.kafka.brokers[0] == '\0')
        complain(problems, "reporter.kafka.brokers", "is empty, but reporter.protocol is kafka",
                 "SW_KAFKA_BOOTSTRAP_SERVERS=kafka:9092");
    if (!sky_kafka_check(&kafka, error, sizeof(error)))
        complain(problems, "reporter.kafka.properties", error, NULL);
}

static void complete_spool(const struct sky_config *config, struct sky_problems *problems)
{
    const char *path = config->reporter.spool.path;

    if (path[0] == '\0')
        return;
    if (path[0] != '/')
        complain(problems, "reporter.spool.path", "is no absolute path",
                 "/var/lib/skystitch/spool");
    if (config->reporter.protocol == SKY_CONFIG_PROTOCOL_LOCAL)
        complain(problems, "reporter.spool.path",
                 "is set, but there is no backend that could fail: segments stay here",
                 "reporter.backends, or no spool");
}

void sky_config_complete_reporter(struct sky_config *config, struct sky_problems *problems)
{
    bool kafka = config->reporter.protocol == SKY_CONFIG_PROTOCOL_KAFKA;
    bool backend = kafka || config->reporter.backends.count > 0;
    if (config->reporter.protocol == SKY_CONFIG_PROTOCOL_AUTO)
        config->reporter.protocol = backend ? SKY_CONFIG_PROTOCOL_GRPC : SKY_CONFIG_PROTOCOL_LOCAL;
    if (config->reporter.protocol != SKY_CONFIG_PROTOCOL_LOCAL && !backend)
        complain(problems, "reporter.backends", "is empty, but reporter.protocol needs a backend",
                 "SW_AGENT_COLLECTOR_BACKEND_SERVICES=oap:11800, or reporter.protocol local");
    complete_tls(config, problems);
    complete_spool(config, problems);
    if (kafka)
        complete_kafka(config, problems);
    if (backend && strcmp(config->agent.name, sky_option_find("agent.service")->initial) == 0)
        sky_problem_report(problems, &(struct sky_problem){
                                         .option = "agent.service",
                                         .value = config->agent.name,
                                         .what = "is the default; name yours by --service or "
                                                 "SW_AGENT_NAME",
                                         .warning = true,
                                     });
    if (config->local.enabled == SKY_SWITCH_AUTO)
        config->local.enabled =
            config->reporter.protocol == SKY_CONFIG_PROTOCOL_LOCAL ? SKY_SWITCH_ON : SKY_SWITCH_OFF;
}

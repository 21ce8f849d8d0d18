/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts the environment's names into ours, the Python agent's, others' and unknown ones. */
#include "proxy/config/config_environment.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/config/config_list.h"
#include "proxy/config/config_option.h"

#define NAME_BYTES 80

static const char place[] = "environment";

/* A name and its value, "NAME=value" taken apart. */
struct variable {
    char name[NAME_BYTES];
    const char *value;
};

static const char *const known[] = {
#define SKY_VARIABLE(name) name,
#include "proxy/config/environment.def"
#undef SKY_VARIABLE
};
static const size_t known_count = sizeof(known) / sizeof(known[0]);

#define KAFKA_PREFIX "SW_KAFKA_REPORTER_CONFIG_"

/* Families of names that OAP reads (application.yml of 9 and 10). OAP's SW_AUTHENTICATION,
 * SW_NAMESPACE and SW_SERVICE_NAME are left out on purpose: who sets them here mostly means
 * SW_AGENT_... */
static const char *const foreign_prefixes[] = {
    "SW_AGENT_ANALYZER",
    "SW_AI_PIPELINE",
    "SW_ALARM",
    "SW_ASYNC_PROFILER",
    "SW_AUTOCOMPLETE_",
    "SW_AWS_",
    "SW_CILIUM_",
    "SW_CLUSTER",
    "SW_CONFIGURATION",
    "SW_CONFIG_",
    "SW_CONTINUOUS_PROFILING",
    "SW_CORE",
    "SW_DATA_SOURCE_",
    "SW_DCS_",
    "SW_DEBUGGING_QUERY",
    "SW_DISABLE_MESSAGE_DIGEST",
    "SW_ENABLE_",
    "SW_ENDPOINT_NAME_MAX_LENGTH",
    "SW_ENVOY_",
    "SW_ES_",
    "SW_EVENT_ANALYZER",
    "SW_EXPORTER",
    "SW_FORCE_SAMPLE_",
    "SW_HEALTH_CHECKER",
    "SW_INSTANCE_NAME_MAX_LENGTH",
    "SW_JDBC_",
    "SW_KAFKA_FETCHER",
    "SW_KAFKA_HANDLER_",
    "SW_LOGQL",
    "SW_LOG_ANALYZER",
    "SW_LOG_LAL_",
    "SW_LOG_MAL_",
    "SW_METER_ANALYZER_",
    "SW_NO_UPSTREAM_REAL_ADDRESS",
    "SW_OAL_",
    "SW_OAP_",
    "SW_OTEL_",
    "SW_PROMQL",
    "SW_QUERY",
    "SW_RECEIVER_",
    "SW_SEARCHABLE_",
    "SW_SEGMENT_STATUS_",
    "SW_SERVICE_MESH",
    "SW_SERVICE_NAME_MAX_LENGTH",
    "SW_SLOW_",
    "SW_STORAGE",
    "SW_SUPERDATASET_",
    "SW_TELEMETRY",
    "SW_TRACEQL",
    "SW_TRACE_SAMPLE_",
    "SW_TRACE_SAMPLING_",
    "SW_UI_",
    "SW_ZIPKIN_",
    "SW_ZK_",
};

static bool starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* False for what is neither SW_* nor SKYSTITCH_*, or longer than any name. */
static bool read_variable(const char *entry, struct variable *variable)
{
    const char *equals = strchr(entry, '=');
    if (equals == NULL || (!starts(entry, "SW_") && !starts(entry, "SKYSTITCH_")))
        return false;
    size_t len = (size_t)(equals - entry);
    if (len >= sizeof(variable->name))
        len = sizeof(variable->name) - 1;
    memcpy(variable->name, entry, len);
    variable->name[len] = '\0';
    variable->value = equals + 1;
    return true;
}

/* Kubernetes sets SW_OAP_SERVICE_HOST, SW_OAP_PORT_11800_TCP and the like in every pod of a
 * namespace with a Service of that name. */
static bool is_service_link(const char *name)
{
    static const char host[] = "_SERVICE_HOST";
    size_t len = strlen(name);
    if (len >= sizeof(host) - 1 && strcmp(name + len - (sizeof(host) - 1), host) == 0)
        return true;
    for (const char *port = strstr(name, "_PORT"); port != NULL; port = strstr(port + 1, "_PORT")) {
        if (port[5] == '\0' || port[5] == '_')
            return true;
    }
    return false;
}

static const struct sky_option *find_own(const char *name)
{
    char variable[NAME_BYTES];
    for (size_t i = 0; i < sky_option_count; i++) {
        sky_option_variable(&sky_options[i], variable, sizeof(variable));
        if (strcmp(variable, name) == 0)
            return &sky_options[i];
    }
    return NULL;
}

/* SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS and those of the other frameworks: here it is one option. */
static bool is_collect(const char *name)
{
    static const char end[] = "_COLLECT_HTTP_PARAMS";
    size_t len = strlen(name);
    return starts(name, "SW_PLUGIN_") && len >= sizeof(end) - 1 &&
           strcmp(name + len - (sizeof(end) - 1), end) == 0;
}

static const struct sky_option *find_alias(const char *name)
{
    if (is_collect(name))
        return sky_option_find("agent.http_params");
    for (size_t i = 0; i < sky_option_count; i++) {
        if (sky_options[i].alias != NULL && strcmp(sky_options[i].alias, name) == 0)
            return &sky_options[i];
    }
    return NULL;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < known_count; i++) {
        if (strcmp(known[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_foreign(const char *name)
{
    for (size_t i = 0; i < sizeof(foreign_prefixes) / sizeof(foreign_prefixes[0]); i++) {
        if (starts(name, foreign_prefixes[i]))
            return true;
    }
    return false;
}

/* An empty value is none, but that of a list: there it means an empty list, as in the Python agent.
 */
static void set(struct sky_config *config, const struct sky_option *option,
                const struct variable *variable, const char *value, struct sky_problems *problems)
{
    if (value[0] != '\0' || option->type->shape == SKY_OPTION_LIST)
        sky_option_set_text(option, config, value, place, variable->name, problems);
}

/* A JSON object of texts, as the Python agent takes it. False: it is none. */
static bool read_properties(const char *text, struct sky_strings *items)
{
    const char *key;
    json_t *value, *object = json_loads(text, 0, NULL);
    *items = (struct sky_strings){.items = calloc(json_object_size(object) + 1, sizeof(char *))};
    bool sound = json_is_object(object) && items->items != NULL;
    json_object_foreach(object, key, value)
    {
        char *item = NULL;
        if (!sound || !json_is_string(value) ||
            asprintf(&item, "%s=%s", key, json_string_value(value)) < 0) {
            sound = false;
            break;
        }
        items->items[items->count++] = item;
    }
    json_decref(object);
    return sound;
}

static void set_properties(struct sky_config *config, const struct sky_option *option,
                           const struct variable *variable, struct sky_problems *problems)
{
    struct sky_strings items;
    if (variable->value[0] == '\0')
        return;
    if (read_properties(variable->value, &items))
        sky_option_set(option, config, &items, place, variable->name, problems);
    else
        sky_problem_report(problems, &(struct sky_problem){.place = place,
                                                           .option = variable->name,
                                                           .value = variable->value,
                                                           .what = "is no JSON object of texts",
                                                           .accepted = "as {\"team\": \"shop\"}"});
    sky_strings_fini(&items);
}

/* The Python agent's default address is a placeholder, and its times are bare seconds. */
static void set_alias(struct sky_config *config, const struct sky_option *option,
                      const struct variable *variable, struct sky_problems *problems)
{
    const char *value = variable->value;
    char seconds[24];
    size_t len = strlen(value);
    if (strcmp(value, "oap_host:oap_port") == 0)
        return;
    if (is_collect(variable->name)) {
        /* As the agent reads it: whichever framework's says true. */
        if (strcasecmp(value, "true") == 0)
            set(config, option, variable, "on", problems);
        return;
    }
    if (strcmp(option->path, "agent.http_params_length") == 0 && value[0] == '-')
        value = "65536"; /* the agent's word for no limit */
    if (option->type == &sky_option_type_properties) {
        set_properties(config, option, variable, problems);
        return;
    }
    if (option->type == &sky_option_type_duration && len > 0 && len < sizeof(seconds) - 1 &&
        strspn(value, "0123456789") == len) {
        snprintf(seconds, sizeof(seconds), "%ss", value);
        value = seconds;
    }
    set(config, option, variable, value, problems);
}

/* The Python agent's names are arguments of kafka-python; most are librdkafka's with underscores.
 */
static void name_kafka_property(const char *name, char *out, size_t size)
{
    static const char *const others[][2] = {
        {"sasl_plain_username", "sasl.username"}, {"sasl_plain_password", "sasl.password"},
        {"ssl_cafile", "ssl.ca.location"},        {"ssl_certfile", "ssl.certificate.location"},
        {"ssl_keyfile", "ssl.key.location"},      {"ssl_password", "ssl.key.password"},
        {"max_request_size", "message.max.bytes"}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcasecmp(name, others[i][0]) == 0) {
            snprintf(out, size, "%s", others[i][1]);
            return;
        }
    }
    snprintf(out, size, "%s", name);
    for (char *at = out; *at != '\0'; at++)
        *at = *at == '_' ? '.' : (char)tolower((unsigned char)*at);
}

static void add_kafka_property(struct sky_config *config, const struct variable *variable,
                               struct sky_problems *problems)
{
    const struct sky_option *option = sky_option_find("reporter.kafka.properties");
    const struct sky_strings *have = &config->reporter.kafka.properties;
    struct sky_strings items = {.items = calloc(have->count + 1, sizeof(char *))};
    char key[NAME_BYTES], *item = NULL;
    name_kafka_property(variable->name + strlen(KAFKA_PREFIX), key, sizeof(key));
    if (items.items != NULL && asprintf(&item, "%s=%s", key, variable->value) >= 0) {
        if (have->count > 0)
            memcpy(items.items, have->items, have->count * sizeof(char *));
        items.items[have->count] = item;
        items.count = have->count + 1;
        sky_option_set(option, config, &items, place, variable->name, problems);
    }
    free(item);
    free(items.items);
}

static void apply_lists(struct sky_config *config, char *const *environment,
                        struct sky_problems *problems)
{
    static const struct {
        const char *name;
        void (*replace)(struct sky_config *, const struct sky_strings *, const char *, const char *,
                        struct sky_problems *);
    } lists[] = {{"SKYSTITCH_LISTEN", sky_config_replace_listeners},
                 {"SKYSTITCH_UPSTREAM", sky_config_replace_upstreams}};
    for (size_t i = 0; i < 2; i++) {
        struct sky_strings items;
        const char *value = sky_environment_get(environment, lists[i].name);
        if (value != NULL && sky_strings_split(value, &items)) {
            lists[i].replace(config, &items, place, lists[i].name, problems);
            sky_strings_fini(&items);
        }
    }
}

/* Whether each word of `part` stands in `whole`, in the same order: SW_TRACE_IGNORE_PATH in
 * SW_AGENT_TRACE_IGNORE_PATH. */
static bool words_within(const char *part, const char *whole)
{
    while (*part != '\0') {
        size_t len = strcspn(part, "_");
        while (strcspn(whole, "_") != len || memcmp(whole, part, len) != 0) {
            whole += strcspn(whole, "_");
            if (*whole == '\0')
                return false;
            whole++;
        }
        part += len + (part[len] == '_');
        whole += len + (whole[len] == '_');
    }
    return true;
}

struct search {
    const char *name;
    char nearest[NAME_BYTES];
    size_t edits; /* SIZE_MAX: none near */
    size_t extra; /* length of the candidate that holds all words */
};

/* Edits are counted after the prefix, which all candidates share. */
static void consider(struct search *search, const char *candidate)
{
    size_t prefix = starts(search->name, "SW_AGENT_") && starts(candidate, "SW_AGENT_")     ? 9
                    : starts(search->name, "SKYSTITCH_") && starts(candidate, "SKYSTITCH_") ? 10
                                                                                            : 0;
    const char *second_word = strchr(search->name, '_') + 1;
    bool take = sky_problem_nearer(search->name + prefix, candidate + prefix, &search->edits);
    if (!take && search->edits == SIZE_MAX && strlen(candidate) < search->extra &&
        *second_word != '\0' && words_within(search->name, candidate)) {
        search->extra = strlen(candidate);
        take = true;
    }
    if (take)
        snprintf(search->nearest, sizeof(search->nearest), "%s", candidate);
}

static void warn_unknown(const char *name, struct sky_problems *problems)
{
    struct search search = {.name = name, .edits = SIZE_MAX, .extra = SIZE_MAX};
    for (size_t i = 0; i < sky_option_count; i++) {
        char variable[NAME_BYTES];
        sky_option_variable(&sky_options[i], variable, sizeof(variable));
        consider(&search, variable);
        if (sky_options[i].alias != NULL)
            consider(&search, sky_options[i].alias);
    }
    for (size_t i = 0; i < known_count; i++)
        consider(&search, known[i]);
    consider(&search, "SKYSTITCH_LISTEN");
    consider(&search, "SKYSTITCH_UPSTREAM");
    consider(&search, "SKYSTITCH_CONFIG");
    sky_problem_report(problems, &(struct sky_problem){
                                     .place = place,
                                     .option = name,
                                     .what = "unknown name, ignored",
                                     .nearest = search.nearest[0] != '\0' ? search.nearest : NULL,
                                     .warning = true,
                                 });
}

static void warn_of_rest(const char *name, struct sky_problems *problems)
{
    if (find_own(name) == NULL && find_alias(name) == NULL &&
        strcmp(name, "SKYSTITCH_LISTEN") != 0 && strcmp(name, "SKYSTITCH_UPSTREAM") != 0 &&
        strcmp(name, "SKYSTITCH_CONFIG") != 0 && !starts(name, KAFKA_PREFIX) && !is_known(name) &&
        !is_foreign(name) && !is_service_link(name))
        warn_unknown(name, problems);
}

void sky_environment_apply(struct sky_config *config, char *const *environment,
                           struct sky_problems *problems)
{
    struct variable variable;
    for (char *const *entry = environment; *entry != NULL; entry++) {
        const struct sky_option *option;
        if (!read_variable(*entry, &variable))
            continue;
        if ((option = find_alias(variable.name)) != NULL)
            set_alias(config, option, &variable, problems);
        else if (starts(variable.name, KAFKA_PREFIX) && variable.value[0] != '\0')
            add_kafka_property(config, &variable, problems);
    }
    for (char *const *entry = environment; *entry != NULL; entry++) {
        const struct sky_option *option;
        if (read_variable(*entry, &variable) && (option = find_own(variable.name)) != NULL)
            set(config, option, &variable, variable.value, problems);
    }
    apply_lists(config, environment, problems);
    for (char *const *entry = environment; *entry != NULL; entry++) {
        if (read_variable(*entry, &variable))
            warn_of_rest(variable.name, problems);
    }
}

const char *sky_environment_get(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (char *const *entry = environment; *entry != NULL; entry++) {
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
            return (*entry)[len + 1] != '\0' ? *entry + len + 1 : NULL;
    }
    return NULL;
}

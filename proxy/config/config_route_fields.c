/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_route_fields.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "proxy/config/config_chars.h"
#include "proxy/http/http1_chars.h"

#define MASK "********"

static const char accepted[] = "{set: {NAME: VALUE}, add: {NAME: VALUE}, remove: [NAME, ...]}";

/* One of the two mappings under way. */
struct reading {
    struct sky_yaml *yaml;
    const char *path;
    struct sky_route_fields *fields;
    char **host; /* NULL: these are fields of answers */
};

static void report(const struct reading *reading, const yaml_node_t *node, const char *value,
                   const char *what)
{
    sky_yaml_report(reading->yaml, node,
                    (struct sky_problem){.option = reading->path, .value = value, .what = what});
}

/* What frames a message or carries the trace. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {
        "connection", "content-length",   "date", "expect",  "http2-settings",
        "keep-alive", "proxy-connection", "te",   "trailer", "transfer-encoding",
        "upgrade",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return strncasecmp(name, "sw8", 3) == 0;
}

static const char *check_name(const struct reading *reading, const char *name)
{
    if (name[0] == '\0' || strlen(name) > 200)
        return "is no name of a field";
    for (const char *at = name; *at != '\0'; at++) {
        if (!sky_http1_is(*at, SKY_HTTP1_TOKEN))
            return "is no name of a field";
    }
    if (is_ours(name))
        return "is the proxy's own";
    if (reading->host != NULL && strchr(name, '_') != NULL)
        return "has an underscore, which WSGI cannot tell from a dash";
    return NULL;
}

static const char *check_value(const char *value)
{
    if (strcmp(value, MASK) == 0)
        return "is the mask that --print-config shows, not the value";
    return strlen(value) > 8000 ? "is longer than 8000 bytes" : sky_config_check_chars(value);
}

/* As `proxy_set_header X-Real-IP $remote_addr` of nginx. */
static void warn_of_variable(const struct reading *reading, const yaml_node_t *node,
                             const char *value)
{
    for (const char *at = value; (at = strchr(at, '$')) != NULL;) {
        if (*++at != '{' && (*at < 'a' || *at > 'z'))
            continue;
        sky_yaml_report(reading->yaml, node,
                        (struct sky_problem){.option = reading->path,
                                             .value = value,
                                             .what = "is sent as it is: fields have no variables",
                                             .warning = true});
        return;
    }
}

static bool set_host(const struct reading *reading, const yaml_node_t *node, const char *value)
{
    for (const char *at = value; *at != '\0'; at++) {
        if (!sky_http1_is(*at, SKY_HTTP1_HOST) && strchr(":[]", *at) == NULL) {
            report(reading, node, value, "is no host");
            return true;
        }
    }
    return (*reading->host = strdup(value)) != NULL;
}

static void read_pair(const struct reading *reading, const struct sky_yaml_pair *pair, bool set)
{
    const char *problem = check_name(reading, pair->key);
    if (problem != NULL) {
        report(reading, pair->key_node, pair->key, problem);
        return;
    }
    const char *value = sky_yaml_text(reading->yaml, pair->value, reading->path, "a text");
    if (value == NULL)
        return;
    bool host = reading->host != NULL && strcasecmp(pair->key, "host") == 0, done;
    if ((problem = check_value(value)) != NULL) {
        report(reading, pair->value, value, problem);
        return;
    }
    if (host && !set) {
        report(reading, pair->key_node, pair->key, "can be set only: there is one");
        return;
    }
    warn_of_variable(reading, pair->value, value);
    if (host)
        done = set_host(reading, pair->value, value);
    else
        done = (!set || sky_route_fields_drop(reading->fields, pair->key)) &&
               sky_route_fields_add(reading->fields, pair->key, value);
    if (!done)
        report(reading, pair->value, NULL, "memory is out");
}

static void read_pairs(const struct reading *reading, const yaml_node_t *node, bool set)
{
    struct sky_yaml_pair pair;
    if (node->type != YAML_MAPPING_NODE) {
        if (!sky_yaml_is_null(node))
            report(reading, node, NULL, "has a set or add that is no mapping");
        return;
    }
    for (size_t i = 0; sky_yaml_next_pair(reading->yaml, node, &i, &pair);)
        read_pair(reading, &pair, set);
}

static void read_removed(const struct reading *reading, const yaml_node_t *node)
{
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(reading->yaml, node, i)) != NULL; i++) {
        const char *name = sky_yaml_text(reading->yaml, item, reading->path, "[NAME, ...]");
        if (name == NULL)
            continue;
        const char *problem = check_name(reading, name);
        if (problem == NULL && reading->host != NULL && strcasecmp(name, "host") == 0)
            problem = "can be set only: there is one";
        if (problem == NULL && !sky_route_fields_drop(reading->fields, name))
            problem = "memory is out";
        if (problem != NULL)
            report(reading, item, name, problem);
    }
}

void sky_config_read_fields(struct sky_yaml *yaml, const yaml_node_t *node, const char *path,
                            struct sky_route_fields *fields, char **host)
{
    enum { SET, ADD, REMOVE, COUNT };
    struct reading reading = {.yaml = yaml, .path = path, .fields = fields, .host = host};
    struct sky_yaml_member members[COUNT] = {
        [SET] = {.name = "set"}, [ADD] = {.name = "add"}, [REMOVE] = {.name = "remove"}};
    if (!sky_yaml_read_members(yaml, node, path, members, COUNT, accepted))
        return;
    if (members[SET].value != NULL)
        read_pairs(&reading, members[SET].value, true);
    if (members[ADD].value != NULL)
        read_pairs(&reading, members[ADD].value, false);
    if (members[REMOVE].value != NULL)
        read_removed(&reading, members[REMOVE].value);
}

static bool is_credential(const char *name)
{
    static const char *const words[] = {"auth", "cookie", "key", "token", "secret", "password"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(name, words[i]) != NULL)
            return true;
    }
    return false;
}

void sky_config_mask_fields(struct json_t *route)
{
    static const char *const members[] = {"set", "add"};
    json_t *headers = json_object_get(route, "request_headers");
    for (size_t i = 0; i < 2; i++) {
        json_t *pairs = json_object_get(headers, members[i]), *value;
        const char *name;
        json_object_foreach(pairs, name, value)
        {
            if (is_credential(name))
                json_object_set_new(pairs, name, json_string(MASK));
        }
    }
}

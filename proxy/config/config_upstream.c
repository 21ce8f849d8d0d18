/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_upstream.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_list.h"
#include "proxy/config/config_member.h"

static const char accepted_upstream[] = "{servers: [ADDR, ...], balance: WORD, max_fails: NUMBER, "
                                        "...}: see \"Upstreams\" in the reference";
static const char accepted_server[] =
    "ADDR, or {address: ADDR, weight: NUMBER, max_connections: NUMBER, backup: on}";

/* The offsets are in the upstream. */
static const struct sky_option options[] = {
#define SKY_UPSTREAM_OPTION(path, field, type, min, max, initial, help) \
    {path,                                                              \
     &sky_option_type_##type,                                           \
     offsetof(struct sky_upstream_config, field),                       \
     min,                                                               \
     max,                                                               \
     initial,                                                           \
     NULL,                                                              \
     help},
#include "proxy/config/upstream_options.def"
#undef SKY_UPSTREAM_OPTION
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* The offsets are in the server. */
static const struct sky_option server_options[] = {
    {"weight", &sky_option_type_count, offsetof(struct sky_server_config, weight), 1, 1000, NULL,
     NULL, NULL},
    {"max_connections", &sky_option_type_count, offsetof(struct sky_server_config, max_connections),
     0, 1000000, NULL, NULL, NULL},
    {"backup", &sky_option_type_flag, offsetof(struct sky_server_config, backup), 0, 0, NULL, NULL,
     NULL},
};
#define SERVER_OPTION_COUNT (sizeof(server_options) / sizeof(server_options[0]))

bool sky_config_upstream_defaults(struct sky_upstream_config *upstream)
{
    bool complete = true;
    *upstream = (struct sky_upstream_config){.name = NULL};
    for (size_t i = 0; i < OPTION_COUNT; i++)
        complete &= options[i].type->read(&options[i], (char *)upstream + options[i].offset,
                                          options[i].initial) == NULL;
    return complete;
}

void sky_config_upstream_fini(struct sky_upstream_config *upstream)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (options[i].type->fini != NULL)
            options[i].type->fini((char *)upstream + options[i].offset);
    }
    for (size_t i = 0; i < upstream->server_count; i++)
        sky_address_fini(&upstream->servers[i].address);
    free(upstream->servers);
    free(upstream->name);
}

/* --- reading --- */

/* One mapping under way. */
struct reading {
    struct sky_yaml *yaml;
    const struct sky_option *options;
    size_t option_count;
    void *object; /* that the offsets are in */
    const char *accepted;
};

static void report(struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                   const char *value, const char *what, const char *accepted)
{
    sky_yaml_report(
        yaml, node,
        (struct sky_problem){.option = option, .value = value, .what = what, .accepted = accepted});
}

/* The section's options, as "queue." begins "queue.max"; name is what follows it. */
static const struct sky_option *find_option(const struct reading *reading, const char *section,
                                            const char *name)
{
    size_t len = strlen(section);
    for (size_t i = 0; i < reading->option_count; i++) {
        const struct sky_option *option = &reading->options[i];
        if (strncmp(option->path, section, len) == 0 && strcmp(option->path + len, name) == 0)
            return option;
    }
    return NULL;
}

static bool is_section(const struct reading *reading, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < reading->option_count; i++) {
        if (strncmp(reading->options[i].path, name, len) == 0 &&
            reading->options[i].path[len] == '.')
            return true;
    }
    return false;
}

/* Names that may stand in the section, and which of them was probably meant. */
static void report_unknown(const struct reading *reading, const yaml_node_t *node,
                           const char *section, const char *path, const char *name)
{
    const char *nearest = NULL;
    char word[32], near[32];
    size_t len = strlen(section), best = SIZE_MAX;
    for (size_t i = 0; i < reading->option_count; i++) {
        if (strncmp(reading->options[i].path, section, len) != 0)
            continue;
        const char *rest = reading->options[i].path + len;
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(rest, "."), rest);
        if (sky_problem_nearer(name, word, &best))
            nearest = strcpy(near, word);
    }
    static const char *const lists[] = {"servers", "address"};
    bool server = reading->options == server_options;
    if (section[0] == '\0' && sky_problem_nearer(name, lists[server], &best))
        nearest = lists[server];
    sky_yaml_report(reading->yaml, node,
                    (struct sky_problem){.option = path,
                                         .what = "unknown option",
                                         .accepted = reading->accepted,
                                         .nearest = nearest});
}

/* All pairs of a mapping but the one that `other` names; that one's value is returned. */
static const yaml_node_t *read_section(const struct reading *reading, const yaml_node_t *node,
                                       const char *section, const char *path, const char *other)
{
    struct sky_yaml_pair pair;
    const yaml_node_t *found = NULL;
    bool unknown = false;
    if (node->type != YAML_MAPPING_NODE) {
        if (other != NULL || !sky_yaml_is_null(node))
            report(reading->yaml, node, path, NULL, "is no mapping", reading->accepted);
        return NULL;
    }
    for (size_t i = 0; sky_yaml_next_pair(reading->yaml, node, &i, &pair);) {
        char name[SKY_YAML_PATH_BYTES], below[48];
        sky_yaml_join_path(name, path, pair.key);
        const struct sky_option *option = find_option(reading, section, pair.key);
        if (other != NULL && strcmp(pair.key, other) == 0) {
            found = pair.value;
        } else if (option != NULL) {
            sky_config_read_member(reading->yaml, option, name, pair.value, reading->object);
        } else if (section[0] == '\0' && is_section(reading, pair.key)) {
            snprintf(below, sizeof(below), "%s.", pair.key);
            read_section(reading, pair.value, below, name, NULL);
        } else {
            report_unknown(reading, pair.key_node, section, name, pair.key);
            unknown = true;
        }
    }
    if (found == NULL && other != NULL && !unknown) {
        char what[64];
        snprintf(what, sizeof(what), "\"%s\" is missing", other);
        report(reading->yaml, node, path, NULL, what, reading->accepted);
    }
    return found;
}

static void read_server(struct sky_upstream_config *upstream, struct sky_yaml *yaml,
                        const yaml_node_t *item, const char *path)
{
    struct sky_server_config server = {.weight = 1};
    const yaml_node_t *address = item;
    size_t errors = yaml->problems->errors;
    if (item->type == YAML_MAPPING_NODE) {
        struct reading reading = {yaml, server_options, SERVER_OPTION_COUNT, &server,
                                  accepted_server};
        address = read_section(&reading, item, "", path, "address");
    }
    if (address == NULL || yaml->problems->errors != errors)
        return;
    const char *text = sky_yaml_text(yaml, address, path, SKY_ACCEPTED_ADDRESS);
    const char *problem = text != NULL ? sky_config_add_server(upstream, text) : NULL;
    if (problem != NULL) {
        report(yaml, address, path, text, problem, SKY_ACCEPTED_ADDRESS);
    } else if (text != NULL) {
        struct sky_server_config *added = &upstream->servers[upstream->server_count - 1];
        server.address = added->address;
        *added = server;
    }
}

static void read_servers(struct sky_upstream_config *upstream, struct sky_yaml *yaml,
                         const yaml_node_t *node, const char *path)
{
    const yaml_node_t *item;
    size_t errors = yaml->problems->errors;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++)
        read_server(upstream, yaml, item, path);
    if (upstream->server_count == 0 && errors == yaml->problems->errors)
        report(yaml, node, path, NULL, "is empty", "[ADDR, ...]");
}

void sky_config_read_upstream(struct sky_upstream_config *upstream, struct sky_yaml *yaml,
                              const yaml_node_t *node, const char *path)
{
    struct reading reading = {yaml, options, OPTION_COUNT, upstream, accepted_upstream};
    const yaml_node_t *servers = read_section(&reading, node, "", path, "servers");
    if (servers != NULL)
        read_servers(upstream, yaml, servers, path);
}

bool sky_config_upstream_tls(const struct sky_upstream_config *upstream)
{
    if (upstream->tls.enabled != SKY_SWITCH_AUTO)
        return upstream->tls.enabled == SKY_SWITCH_ON;
    return upstream->tls.ca[0] != '\0' || upstream->tls.server_name[0] != '\0' ||
           upstream->tls.certificate[0] != '\0' || !upstream->tls.verify;
}

/* --- writing --- */

static json_t *server_tree(const struct sky_server_config *server)
{
    if (server->weight == 1 && !server->backup && server->max_connections == 0)
        return json_string(server->address.text);
    json_t *tree = json_pack("{s:s}", "address", server->address.text);
    for (size_t i = 0; i < SERVER_OPTION_COUNT; i++) {
        const struct sky_option *option = &server_options[i];
        json_object_set_new(tree, option->path,
                            option->type->write(option, (const char *)server + option->offset));
    }
    return tree;
}

json_t *sky_config_upstream_tree(const struct sky_upstream_config *upstream)
{
    json_t *tree = json_object(), *servers = json_array();
    for (size_t i = 0; i < upstream->server_count; i++)
        json_array_append_new(servers, server_tree(&upstream->servers[i]));
    json_object_set_new(tree, "servers", servers);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct sky_option *option = &options[i];
        const char *dot = strchr(option->path, '.');
        json_t *section = tree;
        if (dot != NULL) {
            char name[32];
            snprintf(name, sizeof(name), "%.*s", (int)(dot - option->path), option->path);
            if (json_object_get(tree, name) == NULL)
                json_object_set_new(tree, name, json_object());
            section = json_object_get(tree, name);
        }
        json_object_set_new(section, dot != NULL ? dot + 1 : option->path,
                            option->type->write(option, (const char *)upstream + option->offset));
    }
    return tree;
}

void sky_config_upstream_reference(FILE *out)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char kind[SKY_OPTION_TEXT_BYTES];
        sky_option_kind(&options[i], kind, sizeof(kind));
        fprintf(out, "| `%s` | %s%s%s | ", options[i].path,
                options[i].initial[0] != '\0' ? "`" : "", options[i].initial,
                options[i].initial[0] != '\0' ? "`" : "");
        for (const char *at = kind; *at != '\0'; at++)
            fprintf(out, *at == '|' ? "\\%c" : "%c", *at);
        fprintf(out, " | %s |\n", options[i].help);
    }
}

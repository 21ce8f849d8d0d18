/* SPDX-License-Identifier: Apache-2.0 */
/* Applies the YAML document along the paths of the options. Only known keys are gone into, so the
 * depth is the table's, whatever anchors and aliases the file makes. */
#include "proxy/config/config_file.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_list.h"
#include "proxy/config/config_listen.h"
#include "proxy/config/config_option.h"
#include "proxy/config/config_route.h"
#include "proxy/config/config_upstream.h"
#include "proxy/config/config_yaml.h"

#define FILE_BYTES_MAX (1024 * 1024)

struct file {
    struct sky_yaml yaml;
    struct sky_config *config;
};

static const char *const lists[] = {"listen", "upstreams", "routes"};
#define LIST_COUNT (sizeof(lists) / sizeof(lists[0]))

static void report(const struct file *file, const yaml_node_t *node, const char *option,
                   const char *value, const char *what, const char *accepted)
{
    sky_yaml_report(
        &file->yaml, node,
        (struct sky_problem){.option = option, .value = value, .what = what, .accepted = accepted});
}

static void read_listen(struct file *file, const yaml_node_t *node)
{
    sky_config_read_listen(file->config, &file->yaml, node);
}

static void read_upstreams(struct file *file, const yaml_node_t *node)
{
    struct sky_yaml_pair pair;
    if (node->type != YAML_MAPPING_NODE) {
        if (!sky_yaml_is_null(node))
            report(file, node, "upstreams", NULL, "is no mapping", "NAME: {servers: [ADDR, ...]}");
        return;
    }
    for (size_t i = 0; sky_yaml_next_pair(&file->yaml, node, &i, &pair);) {
        struct sky_upstream_config *upstream;
        char path[SKY_YAML_PATH_BYTES];
        const char *problem = sky_config_add_upstream(file->config, pair.key, &upstream);
        if (problem != NULL) {
            report(file, pair.key_node, "upstreams", pair.key, problem, NULL);
            continue;
        }
        sky_yaml_join_path(path, "upstreams", pair.key);
        sky_config_read_upstream(upstream, &file->yaml, pair.value, path);
    }
}

static void read_routes(struct file *file, const yaml_node_t *node)
{
    sky_config_read_routes(file->config, &file->yaml, node);
}

static void read_option(struct file *file, const struct sky_option *option, const yaml_node_t *node)
{
    struct sky_yaml_place place;
    char accepted[SKY_OPTION_TEXT_BYTES];
    sky_option_accepted(option, accepted, sizeof(accepted));
    sky_yaml_place(&file->yaml, node, &place);
    if (node->type == YAML_SEQUENCE_NODE && option->type->shape != SKY_OPTION_SCALAR) {
        struct sky_strings items;
        if (sky_yaml_texts(&file->yaml, node, option->path, accepted, &items))
            sky_option_set(option, file->config, &items, place.text, option->path,
                           file->yaml.problems);
        sky_strings_fini(&items);
        return;
    }
    const char *text = sky_yaml_text(&file->yaml, node, option->path, accepted);
    if (text != NULL)
        sky_option_set_text(option, file->config, text, place.text, option->path,
                            file->yaml.problems);
}

static void report_unknown(const struct file *file, const yaml_node_t *node, const char *prefix,
                           const char *path)
{
    char accepted[256], nearest[SKY_YAML_PATH_BYTES];
    sky_option_names(prefix, accepted, sizeof(accepted));
    bool near = sky_option_nearest(path, nearest, sizeof(nearest));
    sky_yaml_report(&file->yaml, node,
                    (struct sky_problem){.option = path,
                                         .what = "unknown option",
                                         .accepted = accepted,
                                         .nearest = near ? nearest : NULL});
}

static bool is_list(const char *path)
{
    for (size_t i = 0; i < LIST_COUNT; i++) {
        if (strcmp(lists[i], path) == 0)
            return true;
    }
    return false;
}

static void read_section(struct file *file, const yaml_node_t *mapping, const char *prefix)
{
    struct sky_yaml_pair pair;
    if (mapping->type != YAML_MAPPING_NODE) {
        char accepted[256];
        sky_option_names(prefix, accepted, sizeof(accepted));
        if (!sky_yaml_is_null(mapping))
            report(file, mapping, prefix[0] != '\0' ? prefix : NULL, NULL, "is no mapping",
                   accepted);
        return;
    }
    for (size_t i = 0; sky_yaml_next_pair(&file->yaml, mapping, &i, &pair);) {
        char path[SKY_YAML_PATH_BYTES];
        sky_yaml_join_path(path, prefix, pair.key);
        if (strchr(pair.key, '.') != NULL) {
            report(file, pair.key_node, path, NULL, "has a dot in its key",
                   "one level a line, as {limits: {body: 1GiB}}");
            continue;
        }
        const struct sky_option *option = sky_option_find(path);
        if (option != NULL)
            read_option(file, option, pair.value);
        else if (sky_option_is_section(path))
            read_section(file, pair.value, path);
        else if (!is_list(path))
            report_unknown(file, pair.key_node, prefix, path);
    }
}

static const yaml_node_t *find_key(struct file *file, const yaml_node_t *mapping, const char *key)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *node = yaml_document_get_node(&file->yaml.document, pair->key);
        if (node->type == YAML_SCALAR_NODE && strcmp((char *)node->data.scalar.value, key) == 0)
            return yaml_document_get_node(&file->yaml.document, pair->value);
    }
    return NULL;
}

/* Routes name upstreams, whatever the order in the file. */
static void read_lists(struct file *file, const yaml_node_t *root)
{
    static void (*const readers[LIST_COUNT])(struct file *, const yaml_node_t *) = {
        read_listen, read_upstreams, read_routes};
    for (size_t i = 0; root->type == YAML_MAPPING_NODE && i < LIST_COUNT; i++) {
        const yaml_node_t *node = find_key(file, root, lists[i]);
        if (node != NULL)
            readers[i](file, node);
    }
}

void sky_config_file_apply(struct sky_config *config, const char *name, const void *bytes,
                           size_t len, struct sky_problems *problems)
{
    struct file file = {.yaml = {.name = name, .problems = problems}, .config = config};
    if (!sky_yaml_load(&file.yaml, bytes, len))
        return;
    const yaml_node_t *root = yaml_document_get_root_node(&file.yaml.document);
    read_lists(&file, root);
    read_section(&file, root, "");
    sky_yaml_fini(&file.yaml);
}

void sky_config_file_load(struct sky_config *config, const char *name,
                          struct sky_problems *problems)
{
    const char *what = NULL;
    size_t len = 0;
    FILE *stream = fopen(name, "re");
    char *bytes = malloc(FILE_BYTES_MAX + 1);
    if (stream == NULL || bytes == NULL) {
        what = strerror(errno);
    } else {
        len = fread(bytes, 1, FILE_BYTES_MAX + 1, stream);
        if (ferror(stream))
            what = strerror(errno);
        else if (len > FILE_BYTES_MAX)
            what = "is larger than 1 MiB";
    }
    if (what != NULL)
        sky_problem_report(problems, &(struct sky_problem){.place = name, .what = what});
    else
        sky_config_file_apply(config, name, bytes, len, problems);
    if (stream != NULL)
        fclose(stream);
    free(bytes);
}

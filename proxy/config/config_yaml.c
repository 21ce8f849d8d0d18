/* SPDX-License-Identifier: Apache-2.0 */
/* Document, nodes and places of YAML by libyaml. */
#include "proxy/config/config_yaml.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The search for repeated keys is quadratic. */
#define KEYS_MAX 1000

static const char *format_place(const struct sky_yaml *yaml, yaml_mark_t mark,
                                struct sky_yaml_place *out)
{
    snprintf(out->text, sizeof(out->text), "%.250s:%zu:%zu", yaml->name, mark.line + 1,
             mark.column + 1);
    return out->text;
}

const char *sky_yaml_place(const struct sky_yaml *yaml, const yaml_node_t *node,
                           struct sky_yaml_place *out)
{
    return format_place(yaml, node->start_mark, out);
}

void sky_yaml_report(const struct sky_yaml *yaml, const yaml_node_t *node,
                     struct sky_problem problem)
{
    struct sky_yaml_place place;
    problem.place = sky_yaml_place(yaml, node, &place);
    sky_problem_report(yaml->problems, &problem);
}

/* Bytes that are no UTF-8 have an offset instead of a place. */
static yaml_mark_t offset_to_mark(const char *bytes, size_t len, size_t offset)
{
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset && i < len; i++) {
        mark.column = bytes[i] == '\n' ? 0 : mark.column + 1;
        mark.line += bytes[i] == '\n';
    }
    return mark;
}

static void report_parser(const struct sky_yaml *yaml, const yaml_parser_t *parser,
                          const char *bytes, size_t len)
{
    struct sky_yaml_place place;
    char what[200];
    yaml_mark_t mark = parser->error == YAML_READER_ERROR
                           ? offset_to_mark(bytes, len, parser->problem_offset)
                           : parser->problem_mark;
    snprintf(what, sizeof(what), "is not YAML: %s",
             parser->problem != NULL ? parser->problem : "memory is out");
    sky_problem_report(yaml->problems, &(struct sky_problem){
                                           .place = format_place(yaml, mark, &place),
                                           .what = what,
                                       });
}

/* A second document would silently be left out. */
static bool is_last(const struct sky_yaml *yaml, yaml_parser_t *parser, const void *bytes,
                    size_t len)
{
    yaml_document_t second;
    if (!yaml_parser_load(parser, &second)) {
        report_parser(yaml, parser, bytes, len);
        return false;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&second);
    if (root != NULL)
        sky_yaml_report(yaml, root, (struct sky_problem){.what = "is a second document"});
    yaml_document_delete(&second);
    return root == NULL;
}

static bool load(struct sky_yaml *yaml, yaml_parser_t *parser, const void *bytes, size_t len)
{
    yaml_parser_set_input_string(parser, bytes, len);
    if (!yaml_parser_load(parser, &yaml->document)) {
        report_parser(yaml, parser, bytes, len);
        return false;
    }
    if (yaml_document_get_root_node(&yaml->document) != NULL && is_last(yaml, parser, bytes, len))
        return true;
    sky_yaml_fini(yaml);
    return false;
}

bool sky_yaml_load(struct sky_yaml *yaml, const void *bytes, size_t len)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        sky_problem_report(yaml->problems, &(struct sky_problem){.what = "memory is out"});
        return false;
    }
    bool loaded = load(yaml, &parser, bytes, len);
    yaml_parser_delete(&parser);
    return loaded;
}

void sky_yaml_fini(struct sky_yaml *yaml)
{
    yaml_document_delete(&yaml->document);
}

bool sky_yaml_is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)node->data.scalar.value;
    return text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

const char *sky_yaml_text(const struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                          const char *accepted)
{
    const char *what = NULL;
    if (node->type != YAML_SCALAR_NODE)
        what = node->type == YAML_MAPPING_NODE ? "is a mapping" : "is a list";
    else if (strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        what = "holds a NUL byte";
    if (what != NULL) {
        sky_yaml_report(yaml, node,
                        (struct sky_problem){.option = option, .what = what, .accepted = accepted});
        return NULL;
    }
    return sky_yaml_is_null(node) ? "" : (const char *)node->data.scalar.value;
}

const yaml_node_t *sky_yaml_item(struct sky_yaml *yaml, const yaml_node_t *node, size_t i)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return i == 0 && !sky_yaml_is_null(node) ? node : NULL;
    const yaml_node_item_t *start = node->data.sequence.items.start;
    return start + i < node->data.sequence.items.top
               ? yaml_document_get_node(&yaml->document, start[i])
               : NULL;
}

static const char *key_of(struct sky_yaml *yaml, const yaml_node_pair_t *pair)
{
    const yaml_node_t *node = yaml_document_get_node(&yaml->document, pair->key);
    return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : "";
}

static bool repeats(struct sky_yaml *yaml, const yaml_node_pair_t *start,
                    const yaml_node_pair_t *pair)
{
    for (const yaml_node_pair_t *earlier = start; earlier < pair; earlier++) {
        if (strcmp(key_of(yaml, earlier), key_of(yaml, pair)) == 0)
            return true;
    }
    return false;
}

bool sky_yaml_next_pair(struct sky_yaml *yaml, const yaml_node_t *mapping, size_t *i,
                        struct sky_yaml_pair *pair)
{
    const yaml_node_pair_t *start = mapping->data.mapping.pairs.start;
    size_t count = (size_t)(mapping->data.mapping.pairs.top - start);
    if (count > KEYS_MAX) {
        if ((*i)++ == 0)
            sky_yaml_report(yaml, mapping, (struct sky_problem){.what = "has more than 1000 keys"});
        return false;
    }
    while (*i < count) {
        const yaml_node_pair_t *at = &start[(*i)++];
        pair->key_node = yaml_document_get_node(&yaml->document, at->key);
        pair->value = yaml_document_get_node(&yaml->document, at->value);
        pair->key = sky_yaml_text(yaml, pair->key_node, NULL, "a name before the colon");
        if (pair->key == NULL)
            continue;
        if (!repeats(yaml, start, at))
            return true;
        sky_yaml_report(yaml, pair->key_node,
                        (struct sky_problem){.option = pair->key, .what = "is given twice"});
    }
    return false;
}

void sky_yaml_join_path(char out[SKY_YAML_PATH_BYTES], const char *prefix, const char *key)
{
    snprintf(out, SKY_YAML_PATH_BYTES, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
}

static void take_member(const struct sky_yaml *yaml, const struct sky_yaml_pair *pair,
                        const char *path, struct sky_yaml_member *members, size_t count,
                        const char *accepted)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, pair->key) == 0) {
            members[i].value = pair->value;
            return;
        }
        if (sky_problem_nearer(pair->key, members[i].name, &best))
            nearest = members[i].name;
    }
    char name[SKY_YAML_PATH_BYTES];
    sky_yaml_join_path(name, path, pair->key);
    sky_yaml_report(
        yaml, pair->key_node,
        (struct sky_problem){
            .option = name, .what = "unknown option", .accepted = accepted, .nearest = nearest});
}

bool sky_yaml_read_members(struct sky_yaml *yaml, const yaml_node_t *node, const char *path,
                           struct sky_yaml_member *members, size_t count, const char *accepted)
{
    if (node->type != YAML_MAPPING_NODE) {
        sky_yaml_report(
            yaml, node,
            (struct sky_problem){.option = path, .what = "is no mapping", .accepted = accepted});
        return false;
    }
    struct sky_yaml_pair pair;
    size_t errors = yaml->problems->errors;
    for (size_t i = 0; sky_yaml_next_pair(yaml, node, &i, &pair);)
        take_member(yaml, &pair, path, members, count, accepted);
    for (size_t i = 0; i < count && errors == yaml->problems->errors; i++) {
        if (members[i].required && members[i].value == NULL)
            sky_yaml_report(yaml, node,
                            (struct sky_problem){.option = path,
                                                 .value = members[i].name,
                                                 .what = "is missing",
                                                 .accepted = accepted});
    }
    return errors == yaml->problems->errors;
}

json_t *sky_yaml_json(struct sky_yaml *yaml, const yaml_node_t *node)
{
    if (node->type == YAML_SCALAR_NODE)
        return json_string(sky_yaml_is_null(node) ? "" : (const char *)node->data.scalar.value);
    json_t *made = node->type == YAML_SEQUENCE_NODE ? json_array() : json_object();
    if (node->type == YAML_SEQUENCE_NODE) {
        const yaml_node_t *item;
        for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++)
            json_array_append_new(made, sky_yaml_json(yaml, item));
        return made;
    }
    struct sky_yaml_pair pair;
    for (size_t i = 0; sky_yaml_next_pair(yaml, node, &i, &pair);)
        json_object_set_new(made, pair.key, sky_yaml_json(yaml, pair.value));
    return made;
}

bool sky_yaml_texts(struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                    const char *accepted, struct sky_strings *items)
{
    const yaml_node_t *item;
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    *items = (struct sky_strings){.items = calloc(count + 1, sizeof(char *))};
    for (size_t i = 0; items->items != NULL && (item = sky_yaml_item(yaml, node, i)); i++) {
        const char *text = sky_yaml_text(yaml, item, option, accepted);
        if (text == NULL)
            return false;
        if ((items->items[items->count] = strdup(text)) == NULL)
            break;
        items->count++;
    }
    if (items->count == count && items->items != NULL)
        return true;
    sky_yaml_report(yaml, node, (struct sky_problem){.option = option, .what = "memory is out"});
    return false;
}

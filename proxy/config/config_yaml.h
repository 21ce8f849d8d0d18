/* SPDX-License-Identifier: Apache-2.0 */
/* Going through a YAML document, with every defect reported at its place in the file. */
#ifndef SKY_PROXY_CONFIG_CONFIG_YAML_H
#define SKY_PROXY_CONFIG_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

struct sky_yaml {
    const char *name; /* of the file, as lines show it; borrowed */
    struct sky_problems *problems;
    yaml_document_t document;
};

/* sky_yaml_load: reads the one document of the bytes. False when it is none, which was reported, or
 * when there is nothing in it. After true: sky_yaml_fini. */
bool sky_yaml_load(struct sky_yaml *yaml, const void *bytes, size_t len);
void sky_yaml_fini(struct sky_yaml *yaml);

/* sky_yaml_place: "file:line:column" of a node; valid as long as out. */
struct sky_yaml_place {
    char text[300];
};
const char *sky_yaml_place(const struct sky_yaml *yaml, const yaml_node_t *node,
                           struct sky_yaml_place *out);

/* sky_yaml_report: as sky_problem_report, at the place of a node. */
void sky_yaml_report(const struct sky_yaml *yaml, const yaml_node_t *node,
                     struct sky_problem problem);

/* sky_yaml_text: the text of a scalar, "" for null; NULL after a report when the node is none.
 * Valid as long as the document. */
const char *sky_yaml_text(const struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                          const char *accepted);

/* sky_yaml_is_null: nothing after the colon, `~` or `null`. */
bool sky_yaml_is_null(const yaml_node_t *node);

/* sky_yaml_item: the i-th item of a sequence; of any other node but null it is the node itself that
 * is the only item. NULL after the last. */
const yaml_node_t *sky_yaml_item(struct sky_yaml *yaml, const yaml_node_t *node, size_t i);

/* sky_yaml_texts: the items of a sequence as texts; false after a report. To be freed by
 * sky_strings_fini in any case. */
bool sky_yaml_texts(struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                    const char *accepted, struct sky_strings *items);

struct sky_yaml_pair {
    const char *key;
    const yaml_node_t *key_node, *value;
};

/* sky_yaml_next_pair: the pair at *i or after, whose key is a text and was not there before; what
 * is passed over is reported. Advances *i. False after the last. */
bool sky_yaml_next_pair(struct sky_yaml *yaml, const yaml_node_t *mapping, size_t *i,
                        struct sky_yaml_pair *pair);

/* Room for the path of any option that is gone into. */
#define SKY_YAML_PATH_BYTES 160

/* sky_yaml_join_path: "prefix.key", cut to size. */
void sky_yaml_join_path(char out[SKY_YAML_PATH_BYTES], const char *prefix, const char *key);

/* A named member of a mapping, as {path: ..., upstream: ...}. */
struct sky_yaml_member {
    const char *name;
    bool required;
    const yaml_node_t *value; /* NULL: not given */
};

/* sky_yaml_read_members: fills in what the mapping at path holds of the members. False after a
 * report: it is no mapping, a key is unknown, or a required member is missing. */
bool sky_yaml_read_members(struct sky_yaml *yaml, const yaml_node_t *node, const char *path,
                           struct sky_yaml_member *members, size_t count, const char *accepted);

/* sky_yaml_json: a tree of texts as a new JSON reference; for what is known to be small, as nothing
 * stops aliases here. NULL when memory is out. */
struct json_t *sky_yaml_json(struct sky_yaml *yaml, const yaml_node_t *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_member.h"

#include <stdlib.h>

/* A list that is read as one text; NULL after a report. Heap. */
static char *join_items(struct sky_yaml *yaml, const char *path, const yaml_node_t *node,
                        const char *accepted)
{
    struct sky_strings items;
    char *text = NULL;
    if (sky_yaml_texts(yaml, node, path, accepted, &items) &&
        (text = sky_strings_join(&items)) == NULL)
        sky_yaml_report(yaml, node, (struct sky_problem){.option = path, .what = "memory is out"});
    sky_strings_fini(&items);
    return text;
}

void sky_config_read_member(struct sky_yaml *yaml, const struct sky_option *option,
                            const char *path, const yaml_node_t *node, void *object)
{
    if (path == NULL)
        path = option->path;
    char accepted[SKY_OPTION_TEXT_BYTES];
    sky_option_accepted(option, accepted, sizeof(accepted));
    bool is_list = node->type == YAML_SEQUENCE_NODE && option->type->shape == SKY_OPTION_JOINED;
    char *joined = is_list ? join_items(yaml, path, node, accepted) : NULL;
    const char *text = is_list ? joined : sky_yaml_text(yaml, node, path, accepted);
    const char *problem =
        text != NULL ? option->type->read(option, (char *)object + option->offset, text) : NULL;
    if (problem != NULL)
        sky_yaml_report(yaml, node,
                        (struct sky_problem){
                            .option = path, .value = text, .what = problem, .accepted = accepted});
    free(joined);
}

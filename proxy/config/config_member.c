/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_member.h"

void sky_config_read_member(struct sky_yaml *yaml, const struct sky_option *option,
                            const char *path, const yaml_node_t *node, void *object)
{
    if (path == NULL)
        path = option->path;
    char accepted[SKY_OPTION_TEXT_BYTES];
    sky_option_accepted(option, accepted, sizeof(accepted));
    const char *text = sky_yaml_text(yaml, node, path, accepted);
    const char *problem =
        text != NULL ? option->type->read(option, (char *)object + option->offset, text) : NULL;
    if (problem != NULL)
        sky_yaml_report(yaml, node,
                        (struct sky_problem){
                            .option = path, .value = text, .what = problem, .accepted = accepted});
}

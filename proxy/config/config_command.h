/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: read before the file, since it names it; applied last, since it wins. */
#ifndef SKY_PROXY_CONFIG_CONFIG_COMMAND_H
#define SKY_PROXY_CONFIG_CONFIG_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"

/* All texts are borrowed from argv. Caller-owned. */
struct sky_command {
    enum sky_config_action action;
    const char *file; /* NULL: none */
    struct sky_command_value {
        enum {
            SKY_COMMAND_LISTEN,
            SKY_COMMAND_UPSTREAM,
            SKY_COMMAND_SERVICE,
            SKY_COMMAND_SET
        } kind;
        const char *text;
    } * values; /* in the order given; heap */
    size_t value_count;
};

/* sky_command_read: defects are reported. To be freed by sky_command_fini in any case. */
void sky_command_read(struct sky_command *command, int argc, char *const *argv,
                      struct sky_problems *problems);

/* sky_command_apply: lists given here replace those of the configuration. */
void sky_command_apply(const struct sky_command *command, struct sky_config *config,
                       struct sky_problems *problems);

void sky_command_fini(struct sky_command *command);

/* sky_command_help: the screen of --help. */
void sky_command_help(FILE *out);

#endif

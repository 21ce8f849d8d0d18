/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all options (options.def), and the one way by which a value gets into a
 * configuration, whether it comes from the command line, the environment, the file or is the
 * default. */
#ifndef SKY_PROXY_CONFIG_CONFIG_OPTION_H
#define SKY_PROXY_CONFIG_CONFIG_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/config/config.h"
#include "proxy/config/config_problem.h"
#include "proxy/config/config_type.h"

struct sky_option {
    const char *path; /* "reporter.batch.interval" */
    const struct sky_option_type *type;
    size_t offset;       /* of the field in struct sky_config */
    uint64_t min, max;   /* of sizes, durations (ms), counts, bytes of a text, items of a list */
    const char *initial; /* the default, as it would be written; lists with commas */
    const char *alias;   /* name that another program gave it in the environment; NULL for none */
    const char *help;    /* one or two sentences */
};

extern const struct sky_option sky_options[];
extern const size_t sky_option_count;

/* sky_option_find: the option of that path, or NULL. */
const struct sky_option *sky_option_find(const char *path);

/* sky_option_is_section: whether options lie below the path, as below "reporter.batch". */
bool sky_option_is_section(const char *path);

/* sky_option_names: what may stand directly in a section, "" being the file itself: "service,
 * instance, ...". Cut to size. */
void sky_option_names(const char *section, char *out, size_t size);

/* sky_option_nearest: writes the option, section or list that was probably meant; false when
 * nothing is near. A path that ends in the same word counts as near: `service` is agent.service. */
bool sky_option_nearest(const char *path, char *out, size_t size);

/* sky_option_variable: the option's own environment name, SKYSTITCH_REPORTER_BATCH_INTERVAL. */
void sky_option_variable(const struct sky_option *option, char *out, size_t size);

/* sky_option_set: reads the items into the option's field; a defect is reported as of `place` and
 * `name`, and the field keeps its value then. Items are only read. */
void sky_option_set(const struct sky_option *option, struct sky_config *config,
                    const struct sky_strings *items, const char *place, const char *name,
                    struct sky_problems *problems);

/* sky_option_set_text: the same from one text, in which commas part the items of a list. */
void sky_option_set_text(const struct sky_option *option, struct sky_config *config,
                         const char *text, const char *place, const char *name,
                         struct sky_problems *problems);

/* Room for any of the following texts. */
#define SKY_OPTION_TEXT_BYTES 160

/* sky_option_accepted: what may be written, with the limits; for error lines. */
void sky_option_accepted(const struct sky_option *option, char *out, size_t size);

/* sky_option_kind: the words of an enumeration, or the type's name with the limits; for tables. */
void sky_option_kind(const struct sky_option *option, char *out, size_t size);

/* sky_option_field: the field of the option in a configuration. */
const void *sky_option_field(const struct sky_option *option, const struct sky_config *config);

/* sky_strings_split: the items between commas, trimmed, empty ones left out; false when memory is
 * out. To be freed by sky_strings_fini. */
bool sky_strings_split(const char *text, struct sky_strings *items);

/* sky_strings_join: the items with commas between them; heap, NULL when memory is out. */
char *sky_strings_join(const struct sky_strings *items);

#endif

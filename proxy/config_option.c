/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options, the search in it, and the setting of a value. */
#include "proxy/config_option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SKY_OPTION(path, field, type, min, max, initial, alias, help)                             \
    {path, &sky_option_type_##type, offsetof(struct sky_config, field), min, max, initial, alias, \
     help},
const struct sky_option sky_options[] = {
#include "proxy/options.def"
};
#undef SKY_OPTION
const size_t sky_option_count = sizeof(sky_options) / sizeof(sky_options[0]);

/* A row's type must be the C type of its field. */
#define SKY_OPTION_TYPE(name, ctype) typedef ctype field_of_##name;
SKY_OPTION_TYPES(SKY_OPTION_TYPE)
#undef SKY_OPTION_TYPE
#define SKY_OPTION(path, field, type, min, max, initial, alias, help)                           \
    _Static_assert(_Generic(((struct sky_config *)0)->field, field_of_##type : 1, default : 0), \
                   path " has a field of another C type");
#include "proxy/options.def"
#undef SKY_OPTION

const struct sky_option *sky_option_find(const char *path)
{
    for (size_t i = 0; i < sky_option_count; i++) {
        if (strcmp(sky_options[i].path, path) == 0)
            return &sky_options[i];
    }
    return NULL;
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

const char *sky_option_nearest(const char *path)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < sky_option_count; i++) {
        if (sky_problem_nearer(path, sky_options[i].path, &best))
            nearest = sky_options[i].path;
    }
    for (size_t i = 0; nearest == NULL && i < sky_option_count; i++) {
        if (sky_problem_distance(last_word(path), last_word(sky_options[i].path), 0) == 0)
            nearest = sky_options[i].path;
    }
    return nearest;
}

void sky_option_variable(const struct sky_option *option, char *out, size_t size)
{
    int len = snprintf(out, size, "SKYSTITCH_%s", option->path);
    for (char *at = out; len > 0 && *at != '\0'; at++)
        *at = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
}

const void *sky_option_field(const struct sky_option *option, const struct sky_config *config)
{
    return (const char *)config + option->offset;
}

static void list_choices(const struct sky_choice *choices, char *out, size_t size)
{
    size_t used = 0;
    for (const struct sky_choice *choice = choices; choice->word != NULL && used < size; choice++) {
        const struct sky_choice *first = choices;
        while (first->value != choice->value)
            first++;
        if (first != choice) /* another word for the same */
            continue;
        used +=
            (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", choice->word);
    }
}

void sky_option_accepted(const struct sky_option *option, char *out, size_t size)
{
    const struct sky_option_type *type = option->type;
    char min[24], max[24];
    if (type->choices != NULL) {
        list_choices(type->choices, out, size);
        return;
    }
    if (option->max == 0) {
        snprintf(out, size, "%s", type->accepted);
        return;
    }
    if (type == &sky_option_type_size) {
        sky_option_format_size(option->min, min);
        sky_option_format_size(option->max, max);
    } else if (type == &sky_option_type_duration) {
        sky_option_format_duration(option->min, min);
        sky_option_format_duration(option->max, max);
    } else if (type == &sky_option_type_text || type == &sky_option_type_secret) {
        snprintf(out, size, "%s of %" PRIu64 " to %" PRIu64 " bytes", type->accepted, option->min,
                 option->max);
        return;
    } else {
        snprintf(min, sizeof(min), "%" PRIu64, option->min);
        snprintf(max, sizeof(max), "%" PRIu64, option->max);
    }
    snprintf(out, size, "%s, from %s to %s", type->accepted, min, max);
}

static void report(const struct sky_option *option, const char *value, const char *what,
                   const char *place, const char *name, struct sky_problems *problems)
{
    char accepted[160];
    sky_option_accepted(option, accepted, sizeof(accepted));
    sky_problem_report(problems, &(struct sky_problem){
                                     .place = place,
                                     .option = name,
                                     .value = option->type->secret ? NULL : value,
                                     .what = what,
                                     .accepted = accepted,
                                 });
}

static void add_item(struct sky_strings *strings, char *item)
{
    strings->items[strings->count++] = item;
}

/* Copies and checks the items. On a defect *bad is the item's place, and NULL bytes stay behind. */
static const char *copy_items(const struct sky_option_type *type, const struct sky_strings *items,
                              struct sky_strings *copy, size_t *bad)
{
    *copy = (struct sky_strings){.items = calloc(items->count + 1, sizeof(char *))};
    if (copy->items == NULL)
        return "memory is out";
    for (*bad = 0; *bad < items->count; ++*bad) {
        char *item = strdup(items->items[*bad]);
        if (item == NULL)
            return "memory is out";
        add_item(copy, item);
        const char *problem = type->check(item);
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

static void set_list(const struct sky_option *option, struct sky_strings *field,
                     const struct sky_strings *items, const char *place, const char *name,
                     struct sky_problems *problems)
{
    struct sky_strings copy;
    size_t bad = 0;
    const char *problem = copy_items(option->type, items, &copy, &bad);
    if (problem != NULL) {
        report(option, bad < items->count ? items->items[bad] : NULL, problem, place, name,
               problems);
        sky_strings_fini(&copy);
        return;
    }
    sky_strings_fini(field);
    *field = copy;
}

static char *join(const struct sky_strings *items)
{
    size_t size = 1;
    for (size_t i = 0; i < items->count; i++)
        size += strlen(items->items[i]) + 1;
    char *text = malloc(size), *at = text;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < items->count; i++) {
        if (i > 0)
            *at++ = ',';
        at = stpcpy(at, items->items[i]);
    }
    *at = '\0';
    return text;
}

void sky_option_set(const struct sky_option *option, struct sky_config *config,
                    const struct sky_strings *items, const char *place, const char *name,
                    struct sky_problems *problems)
{
    void *field = (char *)config + option->offset;
    if (option->type->shape == SKY_OPTION_LIST) {
        set_list(option, field, items, place, name, problems);
        return;
    }
    char *text = join(items);
    const char *problem = text != NULL ? option->type->read(option, field, text) : "memory is out";
    if (problem != NULL)
        report(option, text, problem, place, name, problems);
    free(text);
}

bool sky_strings_split(const char *text, struct sky_strings *items)
{
    size_t commas = 0;
    for (const char *at = text; *at != '\0'; at++)
        commas += *at == ',';
    *items = (struct sky_strings){.items = calloc(commas + 1, sizeof(char *))};
    if (items->items == NULL)
        return false;
    for (const char *at = text;;) {
        at += strspn(at, " \t");
        size_t len = strcspn(at, ","), trimmed = len;
        while (trimmed > 0 && isspace((unsigned char)at[trimmed - 1]))
            trimmed--;
        if (trimmed > 0) {
            char *item = strndup(at, trimmed);
            if (item == NULL) {
                sky_strings_fini(items);
                return false;
            }
            add_item(items, item);
        }
        if (at[len] == '\0')
            return true;
        at += len + 1;
    }
}

void sky_option_set_text(const struct sky_option *option, struct sky_config *config,
                         const char *text, const char *place, const char *name,
                         struct sky_problems *problems)
{
    if (option->type->shape != SKY_OPTION_LIST) {
        const char *problem = option->type->read(option, (char *)config + option->offset, text);
        if (problem != NULL)
            report(option, text, problem, place, name, problems);
        return;
    }
    struct sky_strings items;
    if (!sky_strings_split(text, &items)) {
        report(option, text, "memory is out", place, name, problems);
        return;
    }
    sky_option_set(option, config, &items, place, name, problems);
    sky_strings_fini(&items);
}

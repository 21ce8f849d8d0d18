/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options, the search in it, and the setting of a value. */
#include "proxy/config/config_option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SKY_OPTION(path, field, type, min, max, initial, alias, help)                             \
    {path, &sky_option_type_##type, offsetof(struct sky_config, field), min, max, initial, alias, \
     help},
const struct sky_option sky_options[] = {
#include "proxy/config/options.def"
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
#include "proxy/config/options.def"
#undef SKY_OPTION

const struct sky_option *sky_option_find(const char *path)
{
    for (size_t i = 0; i < sky_option_count; i++) {
        if (strcmp(sky_options[i].path, path) == 0)
            return &sky_options[i];
    }
    return NULL;
}

bool sky_option_is_section(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < sky_option_count; i++) {
        if (strncmp(sky_options[i].path, path, len) == 0 && sky_options[i].path[len] == '.')
            return true;
    }
    return false;
}

/* What of an option's path lies below a section; NULL when it does not. */
static const char *below(const char *section, const char *path)
{
    size_t len = strlen(section);
    if (len == 0)
        return path;
    return strncmp(path, section, len) == 0 && path[len] == '.' ? path + len + 1 : NULL;
}

void sky_option_names(const char *section, char *out, size_t size)
{
    size_t used =
        (size_t)snprintf(out, size, "%s", section[0] == '\0' ? "listen, upstreams, routes" : "");
    const char *before = "";
    size_t before_len = 0;
    for (size_t i = 0; i < sky_option_count && used < size; i++) {
        const char *name = below(section, sky_options[i].path);
        if (name == NULL)
            continue;
        size_t len = strcspn(name, ".");
        if (len == before_len &&
            memcmp(name, before, len) == 0) /* rows of a section stand together */
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%.*s", used > 0 ? ", " : "", (int)len,
                                 name);
        before = name;
        before_len = len;
    }
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

/* Compares a candidate with what is left of the path after the sections both share, so that a wrong
 * last word is measured by its own length. */
static bool nearer(const char *path, const char *candidate, size_t *best)
{
    size_t shared = 0;
    for (size_t i = 0; path[i] != '\0' && path[i] == candidate[i]; i++) {
        if (path[i] == '.')
            shared = i + 1;
    }
    return sky_problem_nearer(path + shared, candidate + shared, best);
}

bool sky_option_nearest(const char *path, char *out, size_t size)
{
    static const char *const lists[] = {"listen", "upstreams", "routes"};
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (nearer(path, lists[i], &best))
            snprintf(out, size, "%s", lists[i]);
    }
    for (size_t i = 0; i < sky_option_count; i++) {
        char candidate[64];
        snprintf(candidate, sizeof(candidate), "%s", sky_options[i].path);
        for (char *end = strchr(candidate, '\0'); end != NULL; end = strrchr(candidate, '.')) {
            *end = '\0';
            if (nearer(path, candidate, &best))
                snprintf(out, size, "%s", candidate);
        }
    }
    for (size_t i = 0; best == SIZE_MAX && i < sky_option_count; i++) {
        if (sky_problem_distance(last_word(path), last_word(sky_options[i].path), 0) == 0) {
            snprintf(out, size, "%s", sky_options[i].path);
            best = 0;
        }
    }
    return best != SIZE_MAX;
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

/* ", 1KiB to 1MiB", or nothing. */
static void format_limits(const struct sky_option *option, char *out, size_t size)
{
    char min[24], max[24];
    out[0] = '\0';
    if (option->max == 0)
        return;
    if (option->type == &sky_option_type_size) {
        sky_option_format_size(option->min, min);
        sky_option_format_size(option->max, max);
    } else if (option->type == &sky_option_type_duration) {
        sky_option_format_duration(option->min, min);
        sky_option_format_duration(option->max, max);
    } else {
        snprintf(min, sizeof(min), "%" PRIu64, option->min);
        snprintf(max, sizeof(max), "%" PRIu64, option->max);
    }
    bool text = option->type == &sky_option_type_text || option->type == &sky_option_type_secret;
    bool list = option->type->shape == SKY_OPTION_LIST;
    snprintf(out, size, ", %s to %s%s", min, max, text ? " bytes" : list ? " items" : "");
}

static void describe(const struct sky_option *option, const char *what, char *out, size_t size)
{
    char limits[64];
    if (option->type->choices != NULL) {
        list_choices(option->type->choices, out, size);
        return;
    }
    format_limits(option, limits, sizeof(limits));
    snprintf(out, size, "%s%s", what, limits);
}

void sky_option_accepted(const struct sky_option *option, char *out, size_t size)
{
    describe(option, option->type->accepted, out, size);
}

void sky_option_kind(const struct sky_option *option, char *out, size_t size)
{
    describe(option, option->type->name, out, size);
}

static void report(const struct sky_option *option, const char *value, const char *what,
                   const char *place, const char *name, struct sky_problems *problems)
{
    char accepted[SKY_OPTION_TEXT_BYTES];
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
    if (option->max != 0 && items->count > option->max) {
        report(option, NULL, "has too many items", place, name, problems);
        return;
    }
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

char *sky_strings_join(const struct sky_strings *items)
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
    char *text = sky_strings_join(items);
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

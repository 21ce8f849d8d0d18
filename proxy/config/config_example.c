/* SPDX-License-Identifier: Apache-2.0 */
/* Prints conf/skystitch-full.yaml: a configuration with every option at its default, from the
 * tables; the lists, which have no rows there, are in example/lists.yaml. */
#include <string.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_print.h"

#define COMMENT_WIDTH 96

/* The lines of the files in example/ (cmake/EmbedText.cmake). */
extern const char *const sky_example_lists[];

/* Comment lines of whole words within the width, begun at `column` (0: a new line); returns the
 * column reached. */
static int put_words(const char *text, int indent, int column, FILE *out)
{
    while (*text != '\0') {
        int word = (int)strcspn(text, " ");
        if (column != 0 && column + 1 + word > COMMENT_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0)
            column = fprintf(out, "%*s#", indent, "");
        column += fprintf(out, " %.*s", word, text);
        text += word;
        text += strspn(text, " ");
    }
    return column;
}

/* A word that YAML reads as itself stands plain, all else in quotes as in JSON. */
static void put_scalar(const char *text, FILE *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.";
    if (text[0] != '\0' && text[0] != '-' && text[strspn(text, plain)] == '\0') {
        fputs(text, out);
        return;
    }
    json_t *string = json_string(text);
    json_dumpf(string, out, JSON_ENCODE_ANY);
    json_decref(string);
}

static void put_list(const char *items, FILE *out)
{
    fputc('[', out);
    for (const char *item = items; *item != '\0';) {
        size_t length = strcspn(item, ",");
        fprintf(out, "%s\"%.*s\"", item != items ? ", " : "", (int)length, item);
        item += length;
        item += *item == ',';
    }
    fputc(']', out);
}

/* Opens the sections in which the option lies and the one before it does not; returns the depth. */
static int open_sections(const char *path, const char *before, FILE *out)
{
    int depth = 0;
    for (const char *start = path, *dot; (dot = strchr(start, '.')) != NULL; start = dot + 1) {
        size_t length = (size_t)(dot + 1 - path);
        if (before == NULL || strncmp(path, before, length) != 0)
            fprintf(out, "%s%*s%.*s:\n", depth == 0 ? "\n" : "", 2 * depth, "", (int)(dot - start),
                    start);
        depth++;
    }
    return depth;
}

static void put_option(const struct sky_option *option, const char *before, FILE *out)
{
    char kind[SKY_OPTION_TEXT_BYTES], value[SKY_OPTION_TEXT_BYTES + 2];
    int depth = open_sections(option->path, before, out);
    const char *dot = strrchr(option->path, '.');
    if (depth == 0)
        fputc('\n', out);
    sky_option_kind(option, kind, sizeof(kind));
    snprintf(value, sizeof(value), "(%s)", kind);
    int column = put_words(option->help, 2 * depth, 0, out);
    put_words(value, 2 * depth, column, out);
    fputc('\n', out);
    fprintf(out, "%*s%s: ", 2 * depth, "", dot != NULL ? dot + 1 : option->path);
    if (option->type->shape == SKY_OPTION_LIST)
        put_list(option->initial, out);
    else
        put_scalar(option->initial, out);
    fputc('\n', out);
}

void sky_config_write_example(FILE *out)
{
    const char *before = NULL;
    for (const char *const *line = sky_example_lists; *line != NULL; line++)
        fputs(*line, out);
    for (size_t i = 0; i < sky_option_count; i++) {
        put_option(&sky_options[i], before, out);
        before = sky_options[i].path;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/reference.md from the tables, so that no page can say another thing than the program;
 * the text between them is in reference/, one file a section. */
#include <string.h>

#include "proxy/admin/metrics.h"
#include "proxy/admin/metrics_reporter.h"
#include "proxy/admin/metrics_upstream.h"
#include "proxy/config/config_change.h"
#include "proxy/config/config_command.h"
#include "proxy/config/config_option.h"
#include "proxy/config/config_print.h"
#include "proxy/config/config_upstream.h"

/* The lines of the files in reference/ (cmake/EmbedText.cmake). */
extern const char *const sky_reference_head[];
extern const char *const sky_reference_options[];
extern const char *const sky_reference_upstreams[];
extern const char *const sky_reference_tls[];
extern const char *const sky_reference_routes[];
extern const char *const sky_reference_environment[];
extern const char *const sky_reference_access_log[];
extern const char *const sky_reference_admin[];
extern const char *const sky_reference_spool[];
extern const char *const sky_reference_metrics[];

/* A cell of a Markdown table: a bar would end it. */
static void put_cell(const char *text, FILE *out)
{
    fputs(" ", out);
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputs(" |", out);
}

static void put_code_cell(const char *text, FILE *out)
{
    if (text[0] == '\0')
        fputs(" |", out);
    else
        fprintf(out, " `%s` |", text);
}

static void write_option(const struct sky_option *option, FILE *out)
{
    char variable[80], kind[SKY_OPTION_TEXT_BYTES];
    sky_option_variable(option, variable, sizeof(variable));
    sky_option_kind(option, kind, sizeof(kind));
    fputc('|', out);
    put_code_cell(option->path, out);
    put_code_cell(option->initial, out);
    put_cell(kind, out);
    fprintf(out, " `%s`", variable);
    if (option->alias != NULL)
        fprintf(out, ", `%s`", option->alias);
    fputs(" |", out);
    put_cell(sky_option_needs_restart(option->path) ? "restart" : "reload", out);
    put_cell(option->help, out);
    fputc('\n', out);
}

static void write_text(const char *const *lines, FILE *out)
{
    for (; *lines != NULL; lines++)
        fputs(*lines, out);
}

static void write_options(FILE *out)
{
    write_text(sky_reference_options, out);
    for (size_t i = 0; i < sky_option_count; i++)
        write_option(&sky_options[i], out);
}

static void write_metrics(FILE *out)
{
    write_text(sky_reference_metrics, out);
    for (size_t i = 0; i < sky_metrics_count; i++) {
        const struct sky_metric *metric = &sky_metrics_table[i];
        /* the version would change the page with each release */
        bool version = strncmp(metric->labels, "version=", 8) == 0;
        fputc('|', out);
        put_code_cell(metric->name, out);
        put_code_cell(version ? "version" : metric->labels, out);
        put_cell(metric->help, out);
        fputc('\n', out);
    }
    sky_metrics_upstream_reference(out);
    sky_metrics_reporter_reference(out);
}

void sky_config_write_reference(FILE *out)
{
    static const char *const *const sections[] = {
        sky_reference_environment, sky_reference_upstreams,  sky_reference_tls,
        sky_reference_routes,      sky_reference_access_log, sky_reference_spool,
        sky_reference_admin,
    };
    write_text(sky_reference_head, out);
    fputs("```\n", out);
    sky_command_help(out);
    fputs("```\n\n", out);
    write_options(out);
    fputc('\n', out);
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        write_text(sections[i], out);
        if (sections[i] == sky_reference_upstreams)
            sky_config_upstream_reference(out);
        fputc('\n', out);
    }
    write_metrics(out);
}

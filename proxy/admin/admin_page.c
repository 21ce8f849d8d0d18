/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the list of traces into a plain table that links to the page of each. */
#include "proxy/admin/admin_page.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The lines of the files in page/ (cmake/EmbedText.cmake). */
extern const char *const sky_page_trace[], *const sky_page_style[], *const sky_page_script[];

static const char head[] =
    "<!doctype html>\n"
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>skystitch</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<link rel=\"stylesheet\" href=\"/style.css\"></head><body>\n";

static void put_escaped(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

/* Ids of foreign segments may hold anything. */
static void put_path_segment(const char *text, FILE *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL)
            fputc(*text, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*text);
    }
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL ? text : "";
}

static void put_services(const json_t *row, FILE *out)
{
    size_t i;
    json_t *service;
    json_array_foreach(json_object_get(row, "services"), i, service)
    {
        if (i > 0)
            fputs(", ", out);
        put_escaped(json_string_value(service) != NULL ? json_string_value(service) : "", out);
    }
}

static void put_row(const json_t *row, FILE *out)
{
    char start[32] = "";
    time_t seconds = (time_t)(json_integer_value(json_object_get(row, "startTime")) / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(start, sizeof(start), "%Y-%m-%d %H:%M:%S", &utc);
    fprintf(out, "<tr><td>%s</td><td><a href=\"/traces/", start);
    put_path_segment(text_of(row, "traceId"), out);
    fputs("\">", out);
    put_escaped(text_of(row, "operation"), out);
    fprintf(out, "</a>%s</td><td>",
            json_is_true(json_object_get(row, "isError")) ? " <b class=\"e\">error</b>" : "");
    put_services(row, out);
    fprintf(out,
            "</td><td class=\"n\">%" JSON_INTEGER_FORMAT " ms</td><td class=\"n\">"
            "%" JSON_INTEGER_FORMAT "</td></tr>\n",
            json_integer_value(json_object_get(row, "durationMs")),
            json_integer_value(json_object_get(row, "spans")));
}

static void put_table(const json_t *rows, FILE *out)
{
    size_t i;
    json_t *row;
    if (json_array_size(rows) == 0) {
        fputs("<p>No traces yet: make a request to the app.</p>\n", out);
        return;
    }
    fputs("<table><tr><th>Start (UTC)</th><th>Operation</th><th>Services</th>"
          "<th class=\"n\">Duration</th><th class=\"n\">Spans</th></tr>\n",
          out);
    json_array_foreach(rows, i, row)
    {
        put_row(row, out);
    }
    fputs("</table>\n", out);
}

char *sky_admin_page(const char *traces, const char *service)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    fputs(head, out);
    fputs("<h1>Traces of ", out);
    put_escaped(service, out);
    fputs("</h1>\n", out);
    if (traces == NULL) {
        fputs("<p>No traces are kept here, since they go to a backend; "
              "<code>local.enabled: on</code> keeps the newest here too.</p>\n",
              out);
    } else {
        json_t *root = json_loads(traces, JSON_ALLOW_NUL, NULL);
        put_table(json_object_get(root, "traces"), out);
        json_decref(root);
    }
    fputs("<p><a href=\"/metrics\">metrics</a> <a href=\"/api/config\">configuration</a> "
          "<a href=\"/api/traces\">JSON</a></p>\n</body></html>\n",
          out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static char *joined(const char *const *lines)
{
    size_t size = 1;
    for (size_t i = 0; lines[i] != NULL; i++)
        size += strlen(lines[i]);
    char *text = malloc(size), *end = text;
    for (size_t i = 0; text != NULL && lines[i] != NULL; i++)
        end = stpcpy(end, lines[i]);
    return text;
}

char *sky_admin_trace_page(void)
{
    return joined(sky_page_trace);
}

char *sky_admin_style(void)
{
    return joined(sky_page_style);
}

char *sky_admin_script(void)
{
    return joined(sky_page_script);
}

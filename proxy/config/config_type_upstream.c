/* SPDX-License-Identifier: Apache-2.0 */
/* Option types of upstreams: what a health check asks for, and what it expects. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_type.h"
#include "proxy/http/http1_chars.h"

/* A request with both is written into a buffer of 1024 bytes. */
#define TEXT_MAX 300

static const char *replace(void *field, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return "memory is out";
    free(*(char **)field);
    *(char **)field = copy;
    return NULL;
}

static json_t *write_text(const struct sky_option *option, const void *field)
{
    (void)option;
    return json_string(*(char *const *)field);
}

static void fini_text(void *field)
{
    free(*(char **)field);
}

/* Both are written into a request as they are. */
static const char *read_target(const struct sky_option *option, void *field, const char *text)
{
    (void)option;
    if (text[0] != '\0' && text[0] != '/')
        return "does not begin with /";
    for (const char *at = text; *at != '\0'; at++) {
        if (!sky_http1_is(*at, SKY_HTTP1_TARGET))
            return "has a character that no path has";
    }
    return strlen(text) > TEXT_MAX ? "is too long" : replace(field, text);
}

static const char *read_host(const struct sky_option *option, void *field, const char *text)
{
    (void)option;
    for (const char *at = text; *at != '\0'; at++) {
        if (!sky_http1_is(*at, SKY_HTTP1_HOST) && strchr(":[]", *at) == NULL)
            return "is no host";
    }
    return strlen(text) > TEXT_MAX ? "is too long" : replace(field, text);
}

/* One status, or the first and the last of a range. */
static const char *read_statuses(const struct sky_option *option, void *field, const char *text)
{
    unsigned min, max;
    char end;
    int count = sscanf(text, "%3u-%3u%c", &min, &max, &end);
    (void)option;
    if (count == 1 && strspn(text, "0123456789") == strlen(text))
        max = min;
    else if (count != 2)
        return "is no range of statuses";
    if (min < 100 || max > 999 || min > max)
        return "is no range of statuses";
    *(struct sky_statuses *)field = (struct sky_statuses){min, max};
    return NULL;
}

static json_t *write_statuses(const struct sky_option *option, const void *field)
{
    const struct sky_statuses *statuses = field;
    char text[32];
    (void)option;
    snprintf(text, sizeof(text), "%" PRIu32 "-%" PRIu32, statuses->min, statuses->max);
    return json_string(text);
}

const struct sky_option_type sky_option_type_target = {
    .name = "path",
    .accepted = "a path that begins with /, or nothing",
    .read = read_target,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_host = {
    .name = "host",
    .accepted = "a host, maybe with a port, or nothing",
    .read = read_host,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_statuses = {
    .name = "statuses",
    .accepted = "a status or a range, as 204 or 200-399",
    .read = read_statuses,
    .write = write_statuses,
};

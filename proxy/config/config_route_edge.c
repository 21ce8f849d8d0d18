/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/config/config_route_edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/compress/compress_config.h"
#include "proxy/config/config_member.h"
#include "proxy/config/config_route_rules.h"
#include "proxy/exchange/error_pages.h"
#include "proxy/http/http1_chars.h"

/* The offset is in the rules. */
static const struct sky_option options[] = {
    {"routes.rate_limit.rate", &sky_option_type_frequency,
     offsetof(struct sky_route_rules, rate.rate), 0, 0, NULL, NULL, NULL},
    {"routes.rate_limit.burst", &sky_option_type_count,
     offsetof(struct sky_route_rules, rate.burst), 1, 1000000, NULL, NULL, NULL},
    {"routes.request_buffering", &sky_option_type_onoff,
     offsetof(struct sky_route_rules, request_buffering), 0, 0, NULL, NULL, NULL},
    {"routes.intercept_errors", &sky_option_type_onoff,
     offsetof(struct sky_route_rules, intercept_errors), 0, 0, NULL, NULL, NULL},
};
enum { RATE, BURST, REQUEST_BUFFERING, INTERCEPT_ERRORS };

#define DEFAULT_BURST 20

static void read_rate_limit(struct sky_yaml *yaml, const yaml_node_t *node,
                            struct sky_route_rules *rules)
{
    struct sky_yaml_member members[] = {
        [RATE] = {.name = "rate", .required = true}, [BURST] = {.name = "burst"}};
    if (!sky_yaml_read_members(yaml, node, "routes.rate_limit", members, 2,
                               "{rate: NUMBER/s, burst: NUMBER}"))
        return;
    rules->rate.burst = DEFAULT_BURST;
    sky_config_read_member(yaml, &options[RATE], NULL, members[RATE].value, rules);
    if (members[BURST].value != NULL)
        sky_config_read_member(yaml, &options[BURST], NULL, members[BURST].value, rules);
}

static void read_error_pages(struct sky_yaml *yaml, const yaml_node_t *node,
                             struct sky_route_rules *rules)
{
    static const char option[] = "routes.error_pages";
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++) {
        const char *text = sky_yaml_text(yaml, item, option, SKY_ERROR_PAGES_ACCEPTED);
        const char *problem = text != NULL ? sky_error_pages_add(&rules->error_pages, text) : NULL;
        if (problem != NULL)
            sky_yaml_report(yaml, item,
                            (struct sky_problem){.option = option,
                                                 .value = text,
                                                 .what = problem,
                                                 .accepted = SKY_ERROR_PAGES_ACCEPTED});
    }
}

/* ---- compress ---- */

/* What web pages and APIs consist of, but for what is compressed already. */
static const char default_types[] =
    "text/*,application/javascript,application/json,application/ld+json,application/manifest+json,"
    "application/problem+json,application/xml,application/xhtml+xml,application/rss+xml,"
    "application/atom+xml,application/wasm,image/svg+xml,image/bmp,image/x-icon,font/ttf,font/otf";

/* The offset is in struct sky_compress_config. */
static const struct sky_option compress_options[] = {
    {"routes.compress.gzip", &sky_option_type_flag, offsetof(struct sky_compress_config, gzip), 0,
     0, NULL, NULL, NULL},
    {"routes.compress.brotli", &sky_option_type_flag, offsetof(struct sky_compress_config, brotli),
     0, 0, NULL, NULL, NULL},
    {"routes.compress.gzip_level", &sky_option_type_count,
     offsetof(struct sky_compress_config, gzip_level), 1, 9, NULL, NULL, NULL},
    {"routes.compress.brotli_quality", &sky_option_type_count,
     offsetof(struct sky_compress_config, brotli_quality), 0, 11, NULL, NULL, NULL},
    {"routes.compress.min_size", &sky_option_type_size,
     offsetof(struct sky_compress_config, min_size), 0, 1073741824, NULL, NULL, NULL},
};
enum { OPTION_COUNT = sizeof(compress_options) / sizeof(compress_options[0]) };

static bool is_type(const char *text)
{
    const char *slash = strchr(text, '/');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '/' && !sky_http1_is(*at, SKY_HTTP1_TOKEN))
            return false;
    }
    return slash != NULL && slash != text && slash[1] != '\0' && strchr(slash + 1, '/') == NULL;
}

static void read_types(struct sky_yaml *yaml, const yaml_node_t *node,
                       struct sky_compress_config *compress)
{
    static const char accepted[] = "a list of media types, as text/html or text/*";
    char joined[4096] = "";
    size_t len = 0;
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++) {
        const char *text = sky_yaml_text(yaml, item, "routes.compress.types", accepted);
        if (text == NULL)
            return;
        const char *problem = !is_type(text)                            ? "is no media type"
                              : len + strlen(text) + 2 > sizeof(joined) ? "is one too many"
                                                                        : NULL;
        if (problem != NULL) {
            sky_yaml_report(yaml, item,
                            (struct sky_problem){.option = "routes.compress.types",
                                                 .value = text,
                                                 .what = problem,
                                                 .accepted = accepted});
            return;
        }
        len += (size_t)snprintf(joined + len, sizeof(joined) - len, "%s,", text);
    }
    sky_strings_fini(&compress->types);
    sky_strings_split(joined, &compress->types);
}

static bool is_word(const yaml_node_t *node, const char *word, const char *other)
{
    const char *text = (const char *)node->data.scalar.value;
    return node->type == YAML_SCALAR_NODE &&
           (strcasecmp(text, word) == 0 || strcasecmp(text, other) == 0);
}

static void read_compress(struct sky_yaml *yaml, const yaml_node_t *node,
                          struct sky_route_rules *rules)
{
    struct sky_yaml_member members[OPTION_COUNT + 1] = {[OPTION_COUNT] = {.name = "types"}};
    if (is_word(node, "off", "false"))
        return;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        members[i].name = strrchr(compress_options[i].path, '.') + 1;
    bool on = is_word(node, "on", "true");
    if (!on &&
        !sky_yaml_read_members(yaml, node, "routes.compress", members, OPTION_COUNT + 1,
                               "on, off or {gzip: on, brotli: on, gzip_level: NUMBER, "
                               "brotli_quality: NUMBER, min_size: SIZE, types: [TYPE, ...]}"))
        return;
    rules->compress = calloc(1, sizeof(*rules->compress));
    if (rules->compress == NULL || !sky_strings_split(default_types, &rules->compress->types)) {
        sky_yaml_report(yaml, node, (struct sky_problem){.what = "memory is out"});
        return;
    }
    rules->compress->gzip = on;
    rules->compress->brotli = on;
    rules->compress->gzip_level = 5;
    rules->compress->brotli_quality = 4;
    rules->compress->min_size = 1024;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (members[i].value != NULL)
            sky_config_read_member(yaml, &compress_options[i], NULL, members[i].value,
                                   rules->compress);
    }
    if (members[OPTION_COUNT].value != NULL)
        read_types(yaml, members[OPTION_COUNT].value, rules->compress);
    if (!rules->compress->gzip && !rules->compress->brotli)
        sky_yaml_report(yaml, node,
                        (struct sky_problem){.option = "routes.compress",
                                             .what = "has neither gzip: on nor brotli: on"});
}

void sky_config_read_edge(struct sky_yaml *yaml, const struct sky_yaml_member *members,
                          struct sky_route_rules *rules)
{
    const yaml_node_t *node;
    if ((node = members[SKY_ROUTE_rate_limit].value) != NULL)
        read_rate_limit(yaml, node, rules);
    if ((node = members[SKY_ROUTE_error_pages].value) != NULL)
        read_error_pages(yaml, node, rules);
    if ((node = members[SKY_ROUTE_intercept_errors].value) != NULL)
        sky_config_read_member(yaml, &options[INTERCEPT_ERRORS], NULL, node, rules);
    if ((node = members[SKY_ROUTE_compress].value) != NULL)
        read_compress(yaml, node, rules);
    if ((node = members[SKY_ROUTE_request_buffering].value) != NULL)
        sky_config_read_member(yaml, &options[REQUEST_BUFFERING], NULL, node, rules);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/route_rules.h"

#include <jansson.h>
#include <stdlib.h>

#include "proxy/compress/compress_config.h"
#include "proxy/config/config_type.h"
#include "proxy/exchange/error_pages.h"

struct sky_route_rules *sky_route_rules_new(void)
{
    struct sky_route_rules *rules = calloc(1, sizeof(*rules));

    if (rules != NULL)
        rules->body = SKY_ROUTE_NO_LIMIT;
    return rules;
}

static void fields_fini(struct sky_route_fields *fields)
{
    for (size_t i = 0; i < fields->added_count; ++i) {
        free(fields->added[i].name);
        free(fields->added[i].lower.base);
        free(fields->added[i].value);
    }
    free(fields->added);
    free(fields->lines);
    sky_strings_fini(&fields->dropped);
}

void sky_route_rules_destroy(struct sky_route_rules *rules)
{
    if (rules == NULL)
        return;
    free(rules->sampling);
    free(rules->request_host);
    fields_fini(&rules->request);
    fields_fini(&rules->response);
    free(rules->answer.location);
    free(rules->answer.body);
    free(rules->files.folder);
    free(rules->files.index);
    free(rules->files.cache_control);
    if (rules->compress != NULL)
        sky_strings_fini(&rules->compress->types);
    free(rules->compress);
    sky_error_pages_destroy(rules->error_pages);
    json_decref(rules->shown);
    free(rules);
}

static char *lower_copy(const char *name)
{
    char *lower = strdup(name);

    if (lower != NULL)
        h2o_strtolower(lower, strlen(lower));
    return lower;
}

bool sky_route_fields_drop(struct sky_route_fields *fields, const char *name)
{
    struct sky_strings *dropped = &fields->dropped;
    char *lower = lower_copy(name);
    char **grown = realloc(dropped->items, (dropped->count + 1) * sizeof(*grown));

    if (grown != NULL)
        dropped->items = grown;
    if (grown == NULL || lower == NULL) {
        free(lower);
        return false;
    }
    dropped->items[dropped->count++] = lower;
    return true;
}

bool sky_route_fields_add(struct sky_route_fields *fields, const char *name, const char *value)
{
    struct sky_route_field *grown =
        realloc(fields->added, (fields->added_count + 1) * sizeof(*grown));

    if (grown == NULL)
        return false;
    fields->added = grown;
    struct sky_route_field *field = &grown[fields->added_count++];
    *field = (struct sky_route_field){.name = strdup(name),
                                      .lower = {.base = lower_copy(name), .len = strlen(name)},
                                      .value = strdup(value)};
    return field->name != NULL && field->lower.base != NULL && field->value != NULL;
}

bool sky_route_fields_complete(struct sky_route_fields *fields)
{
    size_t bytes = 1;

    for (size_t i = 0; i < fields->added_count; ++i) {
        struct sky_route_field *field = &fields->added[i];
        const h2o_token_t *token = h2o_lookup_token(field->lower.base, field->lower.len);
        field->h2o_id = token != NULL ? &token->buf : &field->lower;
        bytes += field->lower.len + strlen(field->value) + 4;
    }
    char *at = fields->lines = malloc(bytes);
    if (at == NULL)
        return false;
    *at = '\0';
    for (size_t i = 0; i < fields->added_count; ++i)
        at += sprintf(at, "%s: %s\r\n", fields->added[i].name, fields->added[i].value);
    fields->lines_bytes = (size_t)(at - fields->lines);
    return true;
}

bool sky_route_drops(const struct sky_route_fields *fields, struct sky_text name)
{
    for (size_t i = 0; i < fields->dropped.count; ++i)
        if (sky_text_equal(name, sky_text_of(fields->dropped.items[i])))
            return true;
    return false;
}

struct sky_text sky_route_value(const struct sky_route_fields *fields, struct sky_text name)
{
    for (size_t i = 0; i < fields->added_count; ++i) {
        const struct sky_route_field *field = &fields->added[i];
        if (sky_text_equal(name, sky_text(field->lower.base, field->lower.len)))
            return sky_text_of(field->value);
    }
    return sky_text(NULL, 0);
}

void sky_route_change_answer(const struct sky_route_rules *rules, h2o_req_t *req)
{
    const struct sky_route_fields *fields = &rules->response;
    h2o_headers_t *headers = &req->res.headers;
    size_t kept = 0;

    for (size_t i = 0; i < headers->size; ++i) {
        const h2o_iovec_t *name = headers->entries[i].name;
        if (!sky_route_drops(fields, sky_text(name->base, name->len)))
            headers->entries[kept++] = headers->entries[i];
    }
    headers->size = kept;
    h2o_vector_reserve(&req->pool, headers, kept + fields->added_count);
    for (size_t i = 0; i < fields->added_count; ++i) {
        const struct sky_route_field *field = &fields->added[i];
        headers->entries[headers->size++] = (h2o_header_t){
            .name = (h2o_iovec_t *)(uintptr_t)field->h2o_id,
            .orig_name = field->name,
            .value = h2o_iovec_init(field->value, strlen(field->value)),
        };
    }
}

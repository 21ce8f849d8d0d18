/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the configuration in effect, by way of one tree, as YAML and as JSON. */
#include "proxy/config/config_print.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_upstream.h"
#include "proxy/route/route_rules.h"

/* The mapping that holds the option's last word; made when it is not there. Borrowed. */
static json_t *section_of(json_t *tree, const char *path)
{
    char name[32];
    for (const char *dot; tree != NULL && (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path);
        json_t *child = json_object_get(tree, name);
        if (child == NULL) {
            json_object_set_new(tree, name, json_object());
            child = json_object_get(tree, name);
        }
        tree = child;
    }
    return tree;
}

static bool add_options(json_t *tree, const struct sky_config *config)
{
    for (size_t i = 0; i < sky_option_count; i++) {
        const struct sky_option *option = &sky_options[i];
        const char *dot = strrchr(option->path, '.');
        json_t *section = section_of(tree, option->path);
        json_t *value = option->type->write(option, sky_option_field(option, config));
        if (json_object_set_new(section, dot != NULL ? dot + 1 : option->path, value) != 0)
            return false;
    }
    return true;
}

static json_t *tls_of(const struct sky_tls_config *tls)
{
    json_t *certificates = json_array();
    for (size_t i = 0; i < tls->certificate_count; i++) {
        const struct sky_certificate_config *pair = &tls->certificates[i];
        json_t *files = json_pack("{s:s, s:s}", "certificate", pair->certificate, "key", pair->key);
        if (pair->ocsp != NULL)
            json_object_set_new(files, "ocsp", json_string(pair->ocsp));
        json_array_append_new(certificates, files);
    }
    json_t *shown = json_pack("{s:o}", "certificates", certificates);
    if (tls->client_ca != NULL) {
        bool required = tls->client_auth == SKY_CLIENT_AUTH_REQUIRE;
        json_object_set_new(shown, "client_ca", json_string(tls->client_ca));
        json_object_set_new(shown, "client_auth", json_string(required ? "require" : "optional"));
    }
    if (tls->hsts != NULL)
        json_object_set_new(shown, "hsts", json_string(tls->hsts));
    return shown;
}

static json_t *listeners_of(const struct sky_config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct sky_listener_config *listener = &config->listeners[i];
        json_t *shown = json_pack("{s:s}", "address", listener->address.text);
        if (listener->tls.certificate_count != 0)
            json_object_set_new(shown, "tls", tls_of(&listener->tls));
        if (listener->tls.no_http2)
            json_object_set_new(shown, "http2", json_string("off"));
        if (listener->h2c)
            json_object_set_new(shown, "h2c", json_string("on"));
        if (listener->proxy_protocol)
            json_object_set_new(shown, "proxy_protocol", json_string("on"));
        if (listener->redirect_port != 0)
            json_object_set_new(shown, "redirect_https", json_integer(listener->redirect_port));
        if (listener->forwarded_trust.text != NULL)
            json_object_set_new(shown, "forwarded",
                                json_pack("{s:s}", "trust", listener->forwarded_trust.text));
        if (listener->trust_incoming.text != NULL)
            json_object_set_new(shown, "trust_incoming",
                                json_string(listener->trust_incoming.text));
        json_array_append_new(list, shown);
    }
    return list;
}

static json_t *upstreams_of(const struct sky_config *config)
{
    json_t *mapping = json_object();
    for (size_t i = 0; i < config->upstream_count; i++)
        json_object_set_new(mapping, config->upstreams[i].name,
                            sky_config_upstream_tree(&config->upstreams[i]));
    return mapping;
}

static json_t *routes_of(const struct sky_config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->route_count; i++) {
        const struct sky_route_config *route = &config->routes[i];
        if (route->rules != NULL) {
            json_array_append(list, route->rules->shown);
            continue;
        }
        json_t *shown =
            json_pack("{s:s, s:s}", "path", route->path, "upstream", route->upstream->name);
        if (route->host != NULL)
            json_object_set_new(shown, "host", json_string(route->host));
        json_array_append_new(list, shown);
    }
    return list;
}

json_t *sky_config_tree(const struct sky_config *config)
{
    json_t *tree = json_object();
    if (json_object_set_new(tree, "listen", listeners_of(config)) == 0 &&
        json_object_set_new(tree, "upstreams", upstreams_of(config)) == 0 &&
        json_object_set_new(tree, "routes", routes_of(config)) == 0 && add_options(tree, config))
        return tree;
    json_decref(tree);
    return NULL;
}

/* A scalar or a list of scalars: JSON is YAML, and quotes what needs it. */
static bool write_leaf(const json_t *value, FILE *out)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    if (text == NULL)
        return false;
    fprintf(out, " %s\n", text);
    free(text);
    return true;
}

static bool write_mapping(json_t *mapping, int indent, FILE *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(mapping, key, value)
    {
        fprintf(out, "%*s%s:", indent, "", key);
        if (!json_is_object(value)) {
            if (!write_leaf(value, out))
                return false;
            continue;
        }
        fputc('\n', out);
        if (!write_mapping(value, indent + 2, out))
            return false;
    }
    return true;
}

bool sky_config_write(const struct sky_config *config, FILE *out)
{
    json_t *tree = sky_config_tree(config);
    bool whole = tree != NULL && write_mapping(tree, 0, out);
    json_decref(tree);
    return whole;
}

void sky_config_print(const struct sky_config *config)
{
    if (!sky_config_write(config, stdout))
        fputs("memory is out\n", stderr);
}

char *sky_config_json(const struct sky_config *config)
{
    json_t *tree = sky_config_tree(config);
    char *text = json_dumps(tree, JSON_INDENT(2));
    json_decref(tree);
    return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Growing and emptying of listeners, upstreams and routes. */
#include "proxy/config_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config_chars.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

static const char out_of_memory[] = "memory is out";

const char *sky_config_add_listener(struct sky_config *config, const char *address)
{
    struct sky_listener_config listener;
    const char *problem = sky_address_parse(address, &listener.address);
    if (problem != NULL)
        return problem;
    for (size_t i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i].address.text, address) == 0) {
            sky_address_fini(&listener.address);
            return "is listened on twice";
        }
    }
    struct sky_listener_config *grown =
        realloc(config->listeners, (config->listener_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        sky_address_fini(&listener.address);
        return out_of_memory;
    }
    config->listeners = grown;
    config->listeners[config->listener_count++] = listener;
    return NULL;
}

struct sky_upstream_config *sky_config_find_upstream(const struct sky_config *config,
                                                     const char *name)
{
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (strcmp(config->upstreams[i].name, name) == 0)
            return &config->upstreams[i];
    }
    return NULL;
}

const char *sky_config_add_upstream(struct sky_config *config, const char *name,
                                    struct sky_upstream_config **upstream)
{
    if (name[0] == '\0' || strspn(name, NAME_CHARS) != strlen(name))
        return "is no name of letters, digits and -._";
    if (sky_config_find_upstream(config, name) != NULL)
        return "is the name of two upstreams";
    struct sky_upstream_config *grown =
        realloc(config->upstreams, (config->upstream_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return out_of_memory;
    config->upstreams = grown;
    *upstream = &config->upstreams[config->upstream_count];
    **upstream = (struct sky_upstream_config){.name = strdup(name)};
    if ((*upstream)->name == NULL)
        return out_of_memory;
    config->upstream_count++;
    return NULL;
}

const char *sky_config_add_server(struct sky_upstream_config *upstream, const char *address)
{
    struct sky_address server;
    char here[32];
    if (address[0] == ':') { /* all addresses of this host: the app is on one of them */
        snprintf(here, sizeof(here), "127.0.0.1%s", address);
        address = here;
    }
    const char *problem = sky_address_parse(address, &server);
    struct sky_address *grown = NULL;
    if (problem == NULL) {
        grown = realloc(upstream->servers, (upstream->server_count + 1) * sizeof(*grown));
        problem = grown != NULL ? NULL : out_of_memory;
    }
    if (problem != NULL) {
        sky_address_fini(&server);
        return problem;
    }
    upstream->servers = grown;
    upstream->servers[upstream->server_count++] = server;
    return NULL;
}

const char *sky_config_add_route(struct sky_config *config, const char *path,
                                 const struct sky_upstream_config *upstream)
{
    if (path[0] != '/')
        return "is no path that begins with /";
    const char *problem = sky_config_check_chars(path);
    if (problem != NULL)
        return problem;
    size_t place = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        if (strcmp(config->routes[i].path, path) == 0)
            return "is the path of two routes";
        if (strlen(config->routes[i].path) >= strlen(path))
            place = i + 1;
    }
    struct sky_route_config *grown =
        realloc(config->routes, (config->route_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return out_of_memory;
    config->routes = grown;
    struct sky_route_config route = {.path = strdup(path), .upstream = upstream};
    if (route.path == NULL)
        return out_of_memory;
    memmove(&config->routes[place + 1], &config->routes[place],
            (config->route_count - place) * sizeof(route));
    config->routes[place] = route;
    config->route_count++;
    return NULL;
}

void sky_config_clear_listeners(struct sky_config *config)
{
    for (size_t i = 0; i < config->listener_count; i++)
        sky_address_fini(&config->listeners[i].address);
    free(config->listeners);
    config->listeners = NULL;
    config->listener_count = 0;
}

static void upstream_fini(struct sky_upstream_config *upstream)
{
    for (size_t i = 0; i < upstream->server_count; i++)
        sky_address_fini(&upstream->servers[i]);
    free(upstream->servers);
    free(upstream->name);
}

void sky_config_clear_upstreams(struct sky_config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        free(config->routes[i].path);
    free(config->routes);
    config->routes = NULL;
    config->route_count = 0;
    for (size_t i = 0; i < config->upstream_count; i++)
        upstream_fini(&config->upstreams[i]);
    free(config->upstreams);
    config->upstreams = NULL;
    config->upstream_count = 0;
}

static void report(const char *what, const char *value, const char *accepted, const char *place,
                   const char *name, struct sky_problems *problems)
{
    sky_problem_report(
        problems,
        &(struct sky_problem){
            .place = place, .option = name, .value = value, .what = what, .accepted = accepted});
}

void sky_config_replace_listeners(struct sky_config *config, const struct sky_strings *items,
                                  const char *place, const char *name,
                                  struct sky_problems *problems)
{
    sky_config_clear_listeners(config);
    for (size_t i = 0; i < items->count; i++) {
        const char *problem = sky_config_add_listener(config, items->items[i]);
        if (problem != NULL)
            report(problem, items->items[i], SKY_ACCEPTED_ADDRESS, place, name, problems);
    }
}

void sky_config_replace_upstreams(struct sky_config *config, const struct sky_strings *items,
                                  const char *place, const char *name,
                                  struct sky_problems *problems)
{
    sky_config_clear_upstreams(config);
    struct sky_upstream_config *upstream;
    const char *problem = sky_config_add_upstream(config, "app", &upstream);
    for (size_t i = 0; problem == NULL && i < items->count; i++) {
        const char *defect = sky_config_add_server(upstream, items->items[i]);
        if (defect != NULL)
            report(defect, items->items[i], SKY_ACCEPTED_ADDRESS, place, name, problems);
    }
    if (problem == NULL)
        problem = sky_config_add_route(config, "/", &config->upstreams[0]);
    if (problem != NULL)
        report(problem, NULL, NULL, place, name, problems);
}

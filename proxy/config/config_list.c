/* SPDX-License-Identifier: Apache-2.0 */
/* Growing and emptying of listeners, upstreams and routes. */
#include "proxy/config/config_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/config/config_chars.h"
#include "proxy/config/config_upstream.h"
#include "proxy/route/route_rules.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

static const char out_of_memory[] = "memory is out";

const char *sky_config_add_listener(struct sky_config *config, const char *address)
{
    struct sky_listener_config listener = {0};
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

const char *sky_config_add_certificate(struct sky_tls_config *tls, const char *certificate,
                                       const char *key)
{
    struct sky_certificate_config *grown =
        realloc(tls->certificates, (tls->certificate_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return out_of_memory;
    tls->certificates = grown;
    struct sky_certificate_config *added = &grown[tls->certificate_count];
    *added =
        (struct sky_certificate_config){.certificate = strdup(certificate), .key = strdup(key)};
    if (added->certificate != NULL && added->key != NULL) {
        tls->certificate_count++;
        return NULL;
    }
    free(added->certificate);
    free(added->key);
    return out_of_memory;
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
    bool complete = sky_config_upstream_defaults(*upstream);
    if (!complete || ((*upstream)->name = strdup(name)) == NULL) {
        sky_config_upstream_fini(*upstream);
        return out_of_memory;
    }
    config->upstream_count++;
    return NULL;
}

/* Takes a scheme off the address: it is what all servers of the upstream speak. */
static const char *take_scheme(struct sky_upstream_config *upstream, const char **address)
{
    static const struct {
        const char *text;
        enum sky_upstream_protocol protocol;
        enum sky_switch tls;
    } schemes[] = {{"http://", SKY_UPSTREAM_HTTP, SKY_SWITCH_AUTO},
                   {"https://", SKY_UPSTREAM_HTTP, SKY_SWITCH_ON},
                   {"uwsgi://", SKY_UPSTREAM_UWSGI, SKY_SWITCH_AUTO}};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].text);
        bool tls = schemes[i].tls == SKY_SWITCH_ON;
        if (strncmp(*address, schemes[i].text, len) != 0)
            continue;
        if (upstream->server_count != 0 && (upstream->protocol != schemes[i].protocol ||
                                            (upstream->tls.enabled == SKY_SWITCH_ON) != tls))
            return "speaks another protocol than the servers before it";
        upstream->protocol = schemes[i].protocol;
        if (tls)
            upstream->tls.enabled = SKY_SWITCH_ON;
        *address += len;
        break;
    }
    return NULL;
}

const char *sky_config_add_server(struct sky_upstream_config *upstream, const char *address)
{
    struct sky_address server;
    char here[32];
    const char *mixed = take_scheme(upstream, &address);
    if (mixed != NULL)
        return mixed;
    if (address[0] == ':') { /* all addresses of this host: the app is on one of them */
        snprintf(here, sizeof(here), "127.0.0.1%s", address);
        address = here;
    }
    const char *problem = sky_address_parse(address, &server);
    struct sky_server_config *grown = NULL;
    if (problem == NULL) {
        grown = realloc(upstream->servers, (upstream->server_count + 1) * sizeof(*grown));
        problem = grown != NULL ? NULL : out_of_memory;
    }
    if (problem != NULL) {
        sky_address_fini(&server);
        return problem;
    }
    upstream->servers = grown;
    upstream->servers[upstream->server_count++] =
        (struct sky_server_config){.address = server, .weight = 1};
    return NULL;
}

const char *sky_config_check_host(const char *host)
{
    if (strcmp(host, "default") == 0)
        return NULL;
    const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
    if (name[0] == '[' && name == host) /* an IPv6 address */
        return strspn(name, "[]:.0123456789abcdefABCDEF") == strlen(name) ? NULL
                                                                          : "is no host name";
    if (name[0] == '\0' || strspn(name, NAME_CHARS) != strlen(name))
        return "is no host name";
    return NULL;
}

/* Names before wildcards before none; the longer wildcard first, then the longer prefix. */
static bool goes_before(const struct sky_route_config *a, const struct sky_route_config *b)
{
    size_t ranks[2], lengths[2];
    const struct sky_route_config *routes[2] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        const char *host = routes[i]->host;
        bool wildcard = host != NULL && host[0] == '*';
        ranks[i] = host == NULL ? 0 : wildcard ? 1 : 2;
        lengths[i] = wildcard ? strlen(host) : 0;
    }
    if (ranks[0] != ranks[1])
        return ranks[0] > ranks[1];
    if (lengths[0] != lengths[1])
        return lengths[0] > lengths[1];
    return strlen(a->path) > strlen(b->path);
}

static bool same_place(const struct sky_route_config *a, const struct sky_route_config *b)
{
    bool same_host =
        a->host == NULL || b->host == NULL ? a->host == b->host : strcasecmp(a->host, b->host) == 0;
    return same_host && strcmp(a->path, b->path) == 0;
}

static void route_fini(struct sky_route_config *route)
{
    sky_route_rules_destroy(route->rules);
    free(route->host);
    free(route->path);
}

static const char *insert_route(struct sky_config *config, const struct sky_route_config *route,
                                struct sky_route_config **inserted)
{
    size_t place = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        if (same_place(&config->routes[i], route))
            return "is the path of two routes";
        if (!goes_before(route, &config->routes[i]))
            place = i + 1;
    }
    struct sky_route_config *grown =
        realloc(config->routes, (config->route_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return out_of_memory;
    memmove(&grown[place + 1], &grown[place], (config->route_count - place) * sizeof(*grown));
    grown[place] = *route;
    config->routes = grown;
    config->route_count++;
    config->route_hosts |= route->host != NULL;
    *inserted = &grown[place];
    return NULL;
}

/* FNV-1a of host and path; never 0, the zone of all other routes. That two of a configuration meet
 * is improbable, and then a client has one bucket for both. */
static uint32_t zone_of(const struct sky_route_config *route)
{
    const char *texts[] = {route->host != NULL ? route->host : "", route->path};
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < 2; i++) {
        const char *at = texts[i];
        do
            hash = (hash ^ (unsigned char)*at) * 16777619U;
        while (*at++ != '\0');
    }
    return hash != 0 ? hash : 1;
}

const char *sky_config_add_route(struct sky_config *config, const char *host, const char *path,
                                 struct sky_route_config **route)
{
    if (path[0] != '/')
        return "is no path that begins with /";
    const char *problem = sky_config_check_chars(path);
    bool named = host != NULL && strcmp(host, "default") != 0;
    if (problem == NULL && named)
        problem = sky_config_check_host(host);
    if (problem != NULL)
        return problem;
    struct sky_route_config made = {.host = named ? strdup(host) : NULL, .path = strdup(path)};
    if (made.path == NULL || (named && made.host == NULL)) {
        problem = out_of_memory;
    } else {
        made.zone = zone_of(&made);
        problem = insert_route(config, &made, route);
    }
    if (problem != NULL)
        route_fini(&made);
    return problem;
}

static void tls_fini(struct sky_tls_config *tls)
{
    for (size_t i = 0; i < tls->certificate_count; i++) {
        free(tls->certificates[i].certificate);
        free(tls->certificates[i].key);
        free(tls->certificates[i].ocsp);
    }
    free(tls->certificates);
    free(tls->client_ca);
    free(tls->hsts);
}

void sky_config_clear_listeners(struct sky_config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        sky_address_fini(&config->listeners[i].address);
        tls_fini(&config->listeners[i].tls);
        sky_trust_fini(&config->listeners[i].forwarded_trust);
        sky_trust_fini(&config->listeners[i].trust_incoming);
    }
    free(config->listeners);
    config->listeners = NULL;
    config->listener_count = 0;
}

void sky_config_clear_upstreams(struct sky_config *config)
{
    for (size_t i = 0; i < config->route_count; i++)
        route_fini(&config->routes[i]);
    free(config->routes);
    config->routes = NULL;
    config->route_count = 0;
    config->route_hosts = false;
    config->route_bodies = false;
    config->route_rates = false;
    for (size_t i = 0; i < config->upstream_count; i++)
        sky_config_upstream_fini(&config->upstreams[i]);
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
    struct sky_route_config *route;
    if (problem == NULL)
        problem = sky_config_add_route(config, NULL, "/", &route);
    if (problem == NULL)
        route->upstream = &config->upstreams[0];
    else
        report(problem, NULL, NULL, place, name, problems);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/route.h"

#include "proxy/route/route_rules.h"

/* The host without port, and without the dot that ends an absolute name. */
static struct sky_text name_of(struct sky_text authority)
{
    const char *end = NULL;

    if (authority.len == 0)
        return authority;
    if (authority.base[0] == '[') { /* RFC 3986, 3.2.2: an IPv6 address */
        end = memchr(authority.base, ']', authority.len);
        return end != NULL ? sky_text(authority.base, (size_t)(end - authority.base) + 1)
                           : authority;
    }
    end = memchr(authority.base, ':', authority.len);
    if (end != NULL)
        authority.len = (size_t)(end - authority.base);
    if (authority.len > 1 && authority.base[authority.len - 1] == '.')
        authority.len--;
    return authority;
}

static bool host_fits(const char *host, struct sky_text name)
{
    struct sky_text wanted = sky_text_of(host);

    if (wanted.base[0] != '*')
        return sky_text_equal_nocase(name, wanted);
    wanted = sky_text(wanted.base + 1, wanted.len - 1); /* ".example.org" */
    return name.len > wanted.len &&
           sky_text_equal_nocase(sky_text(name.base + name.len - wanted.len, wanted.len), wanted);
}

static enum sky_failure find_by_host(const struct sky_config *config, struct sky_text name,
                                     struct sky_text path, const struct sky_route_config **route)
{
    bool known = config->unknown_host == SKY_UNKNOWN_HOST_ACCEPT;

    for (size_t i = 0; i < config->route_count; ++i) {
        const struct sky_route_config *at = &config->routes[i];
        if (at->host != NULL && !host_fits(at->host, name))
            continue;
        known |= at->host != NULL;
        if (!known)
            return SKY_FAILURE_UNKNOWN_HOST; /* routes without a host come last */
        if (!sky_text_starts(path, sky_text_of(at->path)))
            continue;
        *route = at;
        return SKY_FAILURE_NONE;
    }
    return known ? SKY_FAILURE_NO_ROUTE : SKY_FAILURE_UNKNOWN_HOST;
}

enum sky_failure sky_route_find(const struct sky_config *config, struct sky_text authority,
                                struct sky_text path, const struct sky_route_config **route)
{
    *route = NULL;
    if (config->route_hosts)
        return find_by_host(config, name_of(authority), path, route);
    for (size_t i = 0; i < config->route_count; ++i) {
        if (sky_text_starts(path, sky_text_of(config->routes[i].path))) {
            *route = &config->routes[i];
            return SKY_FAILURE_NONE;
        }
    }
    return SKY_FAILURE_NO_ROUTE;
}

/* In HTTP/2, h2o gives a request without a name that of its own configuration. */
static struct sky_text authority_of(const h2o_req_t *req)
{
    if (req->authority.base == req->hostconf->authority.hostport.base)
        return sky_text(NULL, 0);
    return sky_text(req->authority.base, req->authority.len);
}

enum sky_failure sky_route_choose(const struct sky_config *config, const h2o_req_t *req,
                                  const struct sky_route_config **route)
{
    return sky_route_find(config, authority_of(req),
                          sky_text(req->path_normalized.base, req->path_normalized.len), route);
}

struct sky_text sky_route_host(const h2o_req_t *req)
{
    return name_of(authority_of(req));
}

struct sky_text sky_route_rest(const struct sky_route_config *route, const h2o_req_t *req)
{
    size_t prefix = strlen(route->path);
    size_t at = req->norm_indexes != NULL ? req->norm_indexes[prefix - 1] : prefix;

    return sky_text(req->path.base + at, req->path.len - at);
}

const struct sky_route_config *sky_route_of_head(const struct sky_config *config, h2o_req_t *req)
{
    size_t query_at, *indexes;
    const struct sky_route_config *route;
    h2o_iovec_t path = h2o_url_normalize_path(&req->pool, req->input.path.base, req->input.path.len,
                                              &query_at, &indexes);

    sky_route_find(config, sky_text(req->input.authority.base, req->input.authority.len),
                   sky_text(path.base, path.len), &route);
    return route;
}

struct sky_body_policy sky_route_body_policy(const struct sky_config *config,
                                             const struct sky_route_config *route)
{
    struct sky_body_policy policy = {.limit_bytes = config->limits.body};

    if (route == NULL || route->rules == NULL)
        return policy;
    if (route->rules->body != SKY_ROUTE_NO_LIMIT)
        policy.limit_bytes = route->rules->body;
    if (route->upstream == NULL || route->rules->request_buffering != SKY_SWITCH_OFF)
        return policy;
    policy.streamed = true;
    policy.needs_length = route->upstream->protocol == SKY_UPSTREAM_UWSGI;
    return policy;
}

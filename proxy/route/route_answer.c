/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/route_answer.h"

#include "propagation/text.h"
#include "proxy/route/route.h"
#include "proxy/route/route_rules.h"

static struct sky_text path_of(const struct sky_route_config *route, const h2o_req_t *req)
{
    (void)route;
    if (req->path.len == 0 || req->path.base[0] != '/') /* OPTIONS * */
        return SKY_TEXT("/");
    return sky_text(req->path.base, req->query_at != SIZE_MAX ? req->query_at : req->path.len);
}

static struct sky_text query_of(const struct sky_route_config *route, const h2o_req_t *req)
{
    (void)route;
    if (req->query_at == SIZE_MAX)
        return sky_text(NULL, 0);
    return sky_text(req->path.base + req->query_at, req->path.len - req->query_at);
}

static struct sky_text rest_of(const struct sky_route_config *route, const h2o_req_t *req)
{
    struct sky_text rest = sky_route_rest(route, req);

    rest.len -= query_of(route, req).len;
    return rest;
}

static struct sky_text host_of(const struct sky_route_config *route, const h2o_req_t *req)
{
    (void)route;
    return sky_route_host(req);
}

static const struct variable {
    struct sky_text name;
    struct sky_text (*get)(const struct sky_route_config *route, const h2o_req_t *req);
} variables[] = {
    {SKY_TEXT_INIT("$host"), host_of},
    {SKY_TEXT_INIT("$path"), path_of},
    {SKY_TEXT_INIT("$query"), query_of},
    {SKY_TEXT_INIT("$rest"), rest_of},
};

static const struct variable *find_variable(struct sky_text text)
{
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); ++i)
        if (sky_text_starts(text, variables[i].name))
            return &variables[i];
    return NULL;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Where the host ends is up to the location, not to the request: what $rest begins with would be
 * taken for more of the host, and without a host the path's first segment for the host itself. */
static bool ends_its_host(const char *authority)
{
    const char *end = authority + strcspn(authority, "/?#");
    const char *path = strstr(authority, "$path"), *rest = strstr(authority, "$rest");

    if (path != NULL && path < end)
        end = path; /* begins with a slash */
    return end != authority && !has_prefix(authority, "$query") && (rest == NULL || rest >= end);
}

const char *sky_location_check(const char *location)
{
    bool origin = has_prefix(location, "http://") || has_prefix(location, "https://");

    if (!origin && location[0] != '/')
        return "does not begin with http://, https:// or /";
    if (origin ? !ends_its_host(strstr(location, "//") + 2)
               : location[1] == '$' || location[1] == '/' || location[1] == '\\')
        return "could lead to another host"; /* //host/ is a location too */
    for (const char *at = location; *at != '\0'; ++at) {
        if (*at <= ' ' || *at > '~')
            return "holds a character that is to be written as %XX";
        if (*at == '$' && find_variable(sky_text_of(at)) == NULL)
            return "has a $ without the name of a variable";
    }
    return NULL;
}

/* Writes the location with its variables replaced, or only measures it when out is NULL. */
static size_t expand(const struct sky_route_config *route, const h2o_req_t *req, char *out)
{
    struct sky_text left = sky_text_of(route->rules->answer.location);
    size_t len = 0;

    while (left.len != 0) {
        const struct variable *variable = find_variable(left);
        struct sky_text part =
            variable != NULL ? variable->get(route, req) : sky_text(left.base, 1);
        size_t used = variable != NULL ? variable->name.len : 1;
        if (out != NULL && part.len != 0)
            memcpy(out + len, part.base, part.len);
        len += part.len;
        left = sky_text(left.base + used, left.len - used);
    }
    return len;
}

static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {410, "Gone"},
        {429, "Too Many Requests"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i)
        if (known[i].status == status)
            return known[i].reason;
    return "Answered Here";
}

bool sky_route_answers(const struct sky_route_config *route, const h2o_req_t *req)
{
    const char *location = route->rules->answer.location;

    return location == NULL || strstr(location, "$host") == NULL || sky_route_host(req).len != 0;
}

static void add_location(const struct sky_route_config *route, h2o_req_t *req)
{
    size_t len = expand(route, req, NULL);
    char *location = h2o_mem_alloc_pool(&req->pool, len);

    expand(route, req, location);
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_LOCATION, "Location", location, len);
}

void sky_route_answer(const struct sky_route_config *route, h2o_req_t *req)
{
    static h2o_generator_t generator; /* keeps nothing: the answer goes out in one piece */
    const struct sky_route_rules *rules = route->rules;
    struct sky_text text = sky_text_of(rules->answer.body);
    h2o_iovec_t body = h2o_iovec_init(text.base, text.len);
    bool head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));

    req->res.status = (int)rules->answer.status;
    req->res.reason = reason_of(rules->answer.status);
    req->res.content_length = rules->answer.status == 204 ? SIZE_MAX : body.len;
    if (rules->answer.location != NULL)
        add_location(route, req);
    if (body.len != 0)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, "Content-Type",
                       H2O_STRLIT("text/plain; charset=utf-8"));
    sky_route_change_answer(rules, req);
    h2o_start_response(req, &generator);
    h2o_send(req, &body, head || body.len == 0 ? 0 : 1, H2O_SEND_STATE_FINAL);
}

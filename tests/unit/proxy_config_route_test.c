/* SPDX-License-Identifier: Apache-2.0 */
/* What the file says of a route: read whole, shown again, and each mistake with its line. */
#include "proxy/config/config_route.h"

#include "proxy/route/route_rules.h"
#include "tests/unit/config_fixture.h"

/* A route among others; column 12 is where the line's text begins. */
#define ROUTE(members) "upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: /, " members "}]\n"

static const struct {
    const char *text, *line; /* the line without its place's file and row */
} mistakes[] = {
    {ROUTE("upstream: app, redirect: \"/x\""), "10: routes: has more than one target; accepted: "
                                               "static, upstream (or both), redirect or return"},
    {ROUTE("upstream: app, tracd: off"),
     "35: routes.tracd: unknown option; accepted: path, host, upstream, static, index, "
     "cache_control, redirect, return, "
     "strip_prefix, traced, sampling, limits, timeouts, rate_limit, compress, error_pages, "
     "intercept_errors, request_buffering, "
     "request_headers, "
     "response_headers; did "
     "you mean "
     "traced?"},
    {ROUTE("upstream: app, traced: maybe"),
     "43: routes.traced: \"maybe\" is not one of the words; accepted: auto, on, off"},
    {ROUTE("upstream: app, traced: off, host: &a [*a]"), /* a list that holds itself */
     "54: routes.host: is a list; accepted: example.org, *.example.org or default"},
    {ROUTE("upstream: app, sampling: {rate: 2}"),
     "52: routes.sampling.rate: \"2\" is too large; accepted: a number with up to six decimals, 0 "
     "to 1"},
    {ROUTE("upstream: app, sampling: {every: 2}"),
     "46: routes.sampling.every: unknown option; accepted: {rate: NUMBER, per_3_seconds: NUMBER, "
     "keep_errors: on, keep_slower_than: TIME}"},
    {ROUTE("upstream: app, traced: off, sampling: {rate: 1}"),
     "58: routes.sampling: is of no use with traced: off"},
    {ROUTE("upstream: app, limits: {body: much}"),
     "50: routes.limits.body: \"much\" is no number with a unit; accepted: bytes, as 512B, 64KiB, "
     "16MiB or 1GiB, 0B to 1TiB"},
    {ROUTE("upstream: app, limits: {header: 1KiB}"),
     "44: routes.limits.header: unknown option; accepted: body"},
    {ROUTE("upstream: app, timeouts: {}"),
     "45: routes.timeouts: \"response\" is missing; accepted: response"},
    {ROUTE("upstream: app, rate_limit: {burst: 3}"),
     "47: routes.rate_limit: \"rate\" is missing; accepted: {rate: NUMBER/s, burst: NUMBER}"},
    {ROUTE("upstream: app, rate_limit: {rate: 5/d}"),
     "54: routes.rate_limit.rate: \"5/d\" is no rate; accepted: off or a rate, as 10/s, 300/m or "
     "1000/h"},
    {ROUTE("upstream: app, rate_limit: {rate: 5/s, burst: 0}"),
     "66: routes.rate_limit.burst: \"0\" is too small; accepted: a number, 1 to 1000000"},
    {ROUTE("redirect: ftp://a"),
     "30: routes.redirect: \"ftp://a$path$query\" does not begin with http://, https:// or /; "
     "accepted: a URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("redirect: /$rest"), "30: routes.redirect: \"/$rest\" could lead to another host; "
                                "accepted: a URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("redirect: //x/"), "30: routes.redirect: \"//x/\" could lead to another host; "
                              "accepted: a URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("redirect: https://a$rest/"),
     "30: routes.redirect: \"https://a$rest/\" could lead to another host; "
     "accepted: a URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("return: {status: 301, location: \"https://$path\"}"),
     "52: routes.return.location: \"https://$path\" could lead to another host; "
     "accepted: a URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("redirect: /a$b"),
     "30: routes.redirect: \"/a$b\" has a $ without the name of a variable; accepted: a URL or a "
     "path, with $host, $path, $query and $rest"},
    {ROUTE("redirect: \"/a b\""),
     "30: routes.redirect: \"/a b\" holds a character that is to be written as %XX; accepted: a "
     "URL or a path, with $host, $path, $query and $rest"},
    {ROUTE("return: {body: x}"), "28: routes.return: \"status\" is missing; accepted: {status: "
                                 "NUMBER, location: URL, body: TEXT}"},
    {ROUTE("return: {status: 99}"),
     "37: routes.return.status: \"99\" is too small; accepted: a number, 200 to 599"},
    {ROUTE("return: {status: 301}"),
     "28: routes.return: has a status or a location that needs the other; accepted: 301, 302, "
     "303, 307 or 308 with a location, any other status without"},
    {ROUTE("return: {status: 200, location: /x}"),
     "28: routes.return: has a status or a location that needs the other; accepted: 301, 302, "
     "303, 307 or 308 with a location, any other status without"},
    {ROUTE("return: {status: 204, body: x}"), "48: routes.return.body: cannot go with status 204"},
    {ROUTE("return: {status: 304}"),
     "37: routes.return.status: \"304\" is an answer about a file only"},
    {ROUTE("upstream: app, request_headers: {sett: {}}"),
     "53: routes.request_headers.sett: unknown option; accepted: {set: {NAME: VALUE}, add: {NAME: "
     "VALUE}, remove: [NAME, ...]}; did you mean set?"},
    {ROUTE("upstream: app, request_headers: {set: [a]}"),
     "58: routes.request_headers: has a set or add that is no mapping"},
    {ROUTE("upstream: app, request_headers: {set: {\"a b\": c}}"),
     "59: routes.request_headers: \"a b\" is no name of a field"},
    {ROUTE("upstream: app, request_headers: {add: {Content-Length: 1}}"),
     "59: routes.request_headers: \"Content-Length\" is the proxy's own"},
    {ROUTE("upstream: app, request_headers: {remove: [sw8-x]}"),
     "62: routes.request_headers: \"sw8-x\" is the proxy's own"},
    {ROUTE("upstream: app, request_headers: {add: {a_b: 1}}"),
     "59: routes.request_headers: \"a_b\" has an underscore, which WSGI cannot tell from a dash"},
    {ROUTE("upstream: app, request_headers: {add: {Host: a}}"),
     "59: routes.request_headers: \"Host\" can be set only: there is one"},
    {ROUTE("upstream: app, request_headers: {remove: Host}"),
     "61: routes.request_headers: \"Host\" can be set only: there is one"},
    {ROUTE("upstream: app, request_headers: {set: {Host: \"a b\"}}"),
     "65: routes.request_headers: \"a b\" is no host"},
    {ROUTE("upstream: app, response_headers: {set: {A: \"b\\r\\nC: d\"}}"),
     "63: routes.response_headers: \"b\\x0d\\x0aC: d\" holds a control character"},
    {ROUTE("upstream: app, request_headers: {set: {A: \"********\"}}"),
     "62: routes.request_headers: \"********\" is the mask that --print-config shows, not the "
     "value"},
    {ROUTE("upstream: app, index: a.html"), "42: routes: \"index\" goes with static only"},
    {ROUTE("static: srv"), "28: routes.static: \"srv\" is no absolute path; accepted: a path that "
                           "begins with /"},
    {ROUTE("static: /srv, index: a/b"),
     "41: routes.index: \"a/b\" is no name of a file; accepted: a name, or nothing for no index"},
    {ROUTE("static: /srv, redirect: /x"),
     "10: routes: has more than one target; accepted: static, upstream (or both), redirect or "
     "return"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\n"
     "routes: [{static: /srv, path: /a}]\n",
     "31: routes.path: \"/a\" has no / at its end, which strip_prefix and static need"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\n"
     "routes: [{upstream: app, strip_prefix: on, path: /a}]\n",
     "50: routes.path: \"/a\" has no / at its end, which strip_prefix and static need"},
};

static void each_mistake_has_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct reading reading;
        char line[512];
        read_file_text(&reading, mistakes[i].text, strlen(mistakes[i].text));
        snprintf(line, sizeof(line), "shop.yaml:2:%s\n", mistakes[i].line);
        assert_string_equal(reading.lines, line);
        assert_int_equal(reading.config->route_count, 0);
        reading_end(&reading);
    }
}

static const char whole[] =
    "upstreams: {app: {servers: [\"a:1\"]}}\n"
    "routes:\n"
    "  - path: /reports/\n"
    "    upstream: app\n"
    "    strip_prefix: on\n"
    "    traced: off\n"
    "    limits: {body: 2GiB}\n"
    "    timeouts: {response: 10m}\n"
    "    request_headers: {set: {X-Area: a, Host: h:1, Authorization: Basic x}, remove: [Cookie]}\n"
    "    response_headers: {add: {Set-Cookie: c=d}, remove: server}\n"
    "  - {path: /, redirect: \"https://example.org\"}\n"
    "  - {path: /files/, static: /srv, index: , cache_control: no-cache}\n"
    "  - {path: /x, return: {status: 418, body: short}}\n"
    "  - {path: /yy, return: {status: 301, location: \"/new/$rest$query\"}}\n";

static void expect_whole(const struct sky_config *config)
{
    assert_int_equal(config->route_count, 5);
    assert_true(config->route_bodies);
    const struct sky_route_rules *rules = config->routes[0].rules;
    assert_string_equal(config->routes[0].path, "/reports/");
    assert_ptr_equal(config->routes[0].upstream, &config->upstreams[0]);
    assert_int_equal(rules->strip_prefix, SKY_SWITCH_ON);
    assert_int_equal(rules->traced, SKY_SWITCH_OFF);
    assert_int_equal(rules->body, (size_t)2 << 30);
    assert_int_equal(rules->response_ms, 600000);
    assert_string_equal(rules->request_host, "h:1");
    assert_string_equal(rules->request.lines, "X-Area: a\r\nAuthorization: Basic x\r\n");
    assert_true(sky_route_drops(&rules->request, SKY_TEXT("x-area")));
    assert_true(sky_route_drops(&rules->request, SKY_TEXT("cookie")));
    assert_false(sky_route_drops(&rules->request, SKY_TEXT("cookies")));
    assert_true(sky_route_drops(&rules->response, SKY_TEXT("server")));
    assert_false(sky_route_drops(&rules->response, SKY_TEXT("set-cookie")));
    assert_int_equal(rules->response.added_count, 1);
    assert_string_equal(rules->response.added[0].value, "c=d");
    rules = config->routes[1].rules;
    assert_string_equal(rules->files.folder, "/srv");
    assert_null(rules->files.index);
    assert_string_equal(rules->files.cache_control, "no-cache");
    rules = config->routes[2].rules;
    assert_string_equal(rules->answer.location, "/new/$rest$query");
    assert_int_equal(rules->answer.status, 301);
    rules = config->routes[3].rules;
    assert_int_equal(rules->answer.status, 418);
    assert_string_equal(rules->answer.body, "short");
    assert_int_equal(rules->body, SKY_ROUTE_NO_LIMIT);
    rules = config->routes[4].rules;
    assert_null(config->routes[4].upstream);
    assert_string_equal(rules->answer.location, "https://example.org$path$query");
    assert_int_equal(rules->answer.status, 308);
}

static void a_whole_one_is_read_and_shown(void **state)
{
    struct reading reading;
    (void)state;
    read_file_text(&reading, whole, sizeof(whole) - 1);
    assert_string_equal(reading.lines, "");
    expect_whole(reading.config);
    char *text = printed(reading.config);
    assert_non_null(strstr(text, "\"X-Area\": \"a\""));
    assert_non_null(strstr(text, "\"Authorization\": \"********\""));
    assert_null(strstr(text, "Basic x"));
    reading_end(&reading);
    /* what is shown is read again, once the secret is put in */
    char *mask = strstr(text, "********");
    memcpy(mask, "Basic x\"", 8);
    memmove(mask + 8, mask + 9, strlen(mask + 9) + 1);
    read_file_text(&reading, text, strlen(text));
    assert_string_equal(reading.lines, "");
    expect_whole(reading.config);
    reading_end(&reading);
    free(text);
}

/* Nothing leaks whatever is cut off (AddressSanitizer watches). */
static void a_cut_one_is_read_or_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(whole); len++) {
        struct reading reading;
        read_file_text(&reading, whole, len);
        assert_true((reading.problems.errors > 0) == (reading.size > 0));
        reading_end(&reading);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_has_its_line),
        cmocka_unit_test(a_whole_one_is_read_and_shown),
        cmocka_unit_test(a_cut_one_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

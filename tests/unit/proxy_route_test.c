/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request takes, by host and path. */
#include "proxy/route/route.h"

#include "tests/unit/config_fixture.h"

static const char routes[] = "upstreams: {a: {servers: [\"a:1\"]}}\n"
                             "routes:\n"
                             "  - {path: /, upstream: a}\n"
                             "  - {path: /x/, upstream: a, host: default}\n"
                             "  - {path: /w, upstream: a, host: \"*.example.org\"}\n"
                             "  - {path: /w, upstream: a, host: \"*.deep.example.org\"}\n"
                             "  - {path: /, upstream: a, host: shop.example.org}\n"
                             "  - {path: /x/, upstream: a, host: Shop.Example.org}\n"
                             "  - {path: /, upstream: a, host: \"[::1]\"}\n";

static void expect(const struct sky_config *config, const char *authority, const char *path,
                   const char *host, const char *route_path)
{
    const struct sky_route_config *route;

    assert_int_equal(sky_route_find(config, sky_text_of(authority), sky_text_of(path), &route),
                     SKY_FAILURE_NONE);
    assert_string_equal(route->path, route_path);
    assert_string_equal(route->host != NULL ? route->host : "default", host);
}

static void the_nearest_host_then_the_longest_path(void **state)
{
    struct reading reading;
    (void)state;
    read_file_text(&reading, routes, sizeof(routes) - 1);
    assert_string_equal(reading.lines, "");
    const struct sky_config *config = reading.config;
    expect(config, "shop.example.org", "/x/1", "Shop.Example.org", "/x/");
    expect(config, "SHOP.example.org:8080", "/x", "shop.example.org", "/");
    expect(config, "shop.example.org.", "/", "shop.example.org", "/");
    expect(config, "a.example.org", "/w", "*.example.org", "/w");
    expect(config, "a.deep.example.org:1", "/w/1", "*.deep.example.org", "/w");
    expect(config, "deep.example.org", "/w/1", "*.example.org", "/w");
    expect(config, "a.example.org", "/x/", "default", "/x/"); /* no route of its own fits */
    expect(config, "example.org", "/w", "default", "/");
    expect(config, ".example.org", "/w", "default", "/");
    expect(config, "[::1]:8080", "/", "[::1]", "/");
    expect(config, "[::1", "/", "default", "/");
    expect(config, ":80", "/", "default", "/");
    expect(config, "", "/x/", "default", "/x/");
    reading_end(&reading);
}

static void an_unknown_host_is_refused_when_asked(void **state)
{
    struct reading reading;
    const struct sky_route_config *route;
    (void)state;
    read_file_text(&reading, routes, sizeof(routes) - 1);
    struct sky_config *config = reading.config;
    config->unknown_host = SKY_UNKNOWN_HOST_REFUSE;
    static const char *const unknown[] = {"example.org", "", "127.0.0.1", "shop.example.org.x"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(sky_route_find(config, sky_text_of(unknown[i]), sky_text_of("/"), &route),
                         SKY_FAILURE_UNKNOWN_HOST);
        assert_null(route);
    }
    expect(config, "shop.example.org", "/", "shop.example.org", "/");
    expect(config, "b.example.org", "/", "default", "/"); /* named by the wildcard */
    reading_end(&reading);
}

static void without_hosts_the_path_alone_decides(void **state)
{
    static const char text[] = "upstreams: {a: {servers: [\"a:1\"]}}\n"
                               "routes: [{path: /b, upstream: a}, {path: /bc/, upstream: a}]\n";
    struct reading reading;
    const struct sky_route_config *route;
    (void)state;
    read_file_text(&reading, text, sizeof(text) - 1);
    assert_false(reading.config->route_hosts);
    expect(reading.config, "any", "/bc/d", "default", "/bc/");
    expect(reading.config, "", "/bc", "default", "/b");
    assert_int_equal(sky_route_find(reading.config, sky_text_of(""), sky_text_of("/a"), &route),
                     SKY_FAILURE_NO_ROUTE);
    assert_null(route);
    reading_end(&reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_host_then_the_longest_path),
        cmocka_unit_test(an_unknown_host_is_refused_when_asked),
        cmocka_unit_test(without_hosts_the_path_alone_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <regex.h>
#include <stdio.h>

#include "proxy/trace/ignore.h"
#include "tests/unit/exact.h"

static bool matches(const char *pattern, const char *path)
{
    struct sky_text copy = exact_copy(path, strlen(path));
    bool result = sky_ignore_matches(pattern, copy);

    exact_free(copy);
    return result;
}

/* What apache-skywalking 1.2.0 says for each pattern: paths that it leaves out, paths that it does
 * not. */
static void the_agent_and_we_agree(void **state)
{
    static const struct {
        const char *pattern;
        const char *left_out[8], *traced[8];
    } rows[] = {
        {"/health",
         {"/health"},
         {"/", "/healthz", "/health/", "/x/health", "//health", "/Health", ""}},
        {"/health/*", {"/health/", "/health/a"}, {"/health", "/health/a/", "/health/a/b"}},
        {"/health/**",
         {"/health/", "/health/a", "/health/a/b"},
         {"/health", "/healthz", "/health/a/", "/health//a"}},
        {"/**/health", {"/health", "/x/health", "/x/y/health", "//health"}, {"/xhealth", "health"}},
        {"/api/*/users", {"/api/1/users", "/api//users"}, {"/api/users", "/api/1/2/users"}},
        {"/api/**/users",
         {"/api/users", "/api/1/users", "/api/1/2/users", "/api//users"},
         {"/api/1/users/", "/apiusers", "/api/1users"}},
        {"/api/?", {"/api/x"}, {"/api/", "/api/xy", "/api//"}},
        {"/v?/ping", {"/v1/ping"}, {"/v10/ping", "/v/ping", "/v//ping"}},
        {"**", {"", "x", "x/y"}, {"/", "/x", "x/"}},
        {"/**", {"/", "/x", "/x/y"}, {"", "/x/", "//x"}},
        {"/*", {"/", "/x"}, {"/x/y", "/x/", "//"}},
        {"/a*b/c", {"/ab/c", "/axxb/c"}, {"/a/b/c", "/ab/", "/axb"}},
        {"/a**", {"/a", "/ab/c", "/api/1/users"}, {"/a/", "/a/b", "/b"}},
        {"**/x", {"/x", "y/x"}, {"/y/x", "x"}},
        {"/static/**.map",
         {"/static/app.map", "/static/js/app.map"},
         {"/static/app.mapx", "/static/js//.map", "/app.map"}},
        {"/path/*/x/**", {"/path/1/x/", "/path/1/x/y/z"}, {"/path/1/2/x/y", "/path/1/x"}},
        {"/a.b+c", {"/a.b+c"}, {"/aXb+c", "/a.bbc"}},
        {"/**/", {"/", "/x/", "/x/y/", "//"}, {"/x", "", "x/"}},
        {"/**/a/**", {"/a/", "/x/a/y", "/a/b/c", "/x/y/a/"}, {"/a", "/ab/c"}},
        {"/a/**/**/b", {"/a//b", "/a/x/b", "/a/x/y/b"}, {"/a/b", "/ab"}},
        {"***", {"", "x", "x/y"}, {"/"}},
        {"/caf\xc3\xa9/*", {"/caf%C3%A9/x", "/caf%c3%a9/", "/caf\xc3\xa9/x"}, {"/cafe/x"}},
        {"/a b", {"/a%20b", "/a b"}, {"/a%2", "/a%"}},
        {"/a/?", {"/a/%41"}, {"/a/%2F", "/a/%4"}},
        {"/%", {"/%", "/%25"}, {"/%2525"}},
        {"", {""}, {"/", "x"}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        for (const char *const *path = rows[i].left_out; *path != NULL; ++path) {
            if (!matches(rows[i].pattern, *path))
                fail_msg("%s does not match %s", rows[i].pattern, *path);
        }
        for (const char *const *path = rows[i].traced; *path != NULL; ++path) {
            if (matches(rows[i].pattern, *path))
                fail_msg("%s matches %s", rows[i].pattern, *path);
        }
    }
}

/* The agent's translation of a pattern, as a POSIX regular expression. */
static void translate(const char *pattern, char *regex)
{
    char *out = regex + sprintf(regex, "^");

    while (*pattern != '\0') {
        if (strncmp(pattern, "/**/", 4) == 0) {
            out += sprintf(out, "/([^/]*/)*");
            pattern += 4;
        } else if (strncmp(pattern, "**", 2) == 0) {
            out += sprintf(out, "(([^/]+/)*[^/]+)?");
            pattern += 2;
        } else if (*pattern == '*') {
            out += sprintf(out, "[^/]*");
            pattern += 1;
        } else {
            out += sprintf(out, *pattern == '?' ? "[^/]" : "%c", *pattern);
            pattern += 1;
        }
    }
    sprintf(out, "$");
}

/* The n-th text over an alphabet, shortest first. */
static void spell(size_t n, const char *alphabet, char *text)
{
    size_t base = strlen(alphabet);

    for (; n != 0; n = (n - 1) / base)
        *text++ = alphabet[(n - 1) % base];
    *text = '\0';
}

static void all_short_patterns_mean_their_regular_expression(void **state)
{
    enum { PATTERNS = 5461, PATHS = 127 }; /* up to six of four characters, of two */
    (void)state;

    for (size_t i = 0; i < PATTERNS; ++i) {
        char pattern[8], expression[128], path[8];
        regex_t regex;
        spell(i, "a/*?", pattern);
        translate(pattern, expression);
        assert_int_equal(regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB), 0);
        for (size_t j = 0; j < PATHS; ++j) {
            spell(j, "a/", path);
            bool expected = regexec(&regex, path, 0, NULL, 0) == 0;
            if (sky_ignore_matches(pattern, sky_text_of(path)) != expected)
                fail_msg("pattern %s, path %s: %s expected", pattern, path,
                         expected ? "match" : "no match");
        }
        regfree(&regex);
    }
}

static void long_patterns_match_up_to_the_limit(void **state)
{
    char pattern[SKY_IGNORE_PATTERN_MAX_BYTES + 2];
    (void)state;

    for (size_t literal = 0; literal <= 2; ++literal) {
        memset(pattern, 'b', sizeof(pattern));
        memset(pattern, 'a', literal);
        pattern[literal] = '*';
        pattern[SKY_IGNORE_PATTERN_MAX_BYTES] = '\0';
        assert_true(matches(pattern, pattern));
        pattern[SKY_IGNORE_PATTERN_MAX_BYTES] = 'b';
        pattern[SKY_IGNORE_PATTERN_MAX_BYTES + 1] = '\0';
        assert_false(matches(pattern, pattern));
    }
}

static struct sky_strings list(char **items, size_t count)
{
    return (struct sky_strings){items, count};
}

static bool ignored(const struct sky_config *config, const char *method, const char *target)
{
    struct sky_text copy = exact_copy(target, strlen(target));
    bool result = sky_ignored(config, sky_text_of(method), copy);

    exact_free(copy);
    return result;
}

static void lists_are_asked_for_what_they_are_about(void **state)
{
    static char *paths[] = {"/health", "/internal/**"}, *suffixes[] = {".css", ".ico", ""},
                *methods[] = {"OPTIONS", "head"};
    struct sky_config config = {0};
    (void)state;

    config.agent.ignore_path = list(paths, 2);
    config.agent.ignore_suffix = list(suffixes, 3);
    config.agent.ignore_method = list(methods, 2);
    assert_true(ignored(&config, "GET", "/health"));
    assert_true(ignored(&config, "GET", "/health?deep=1"));
    assert_true(ignored(&config, "GET", "/internal/a/b?x=/y"));
    assert_true(ignored(&config, "GET", "/a/app.css"));
    assert_true(ignored(&config, "GET", "/app.css?v=3"));
    assert_true(ignored(&config, "GET", "/.css"));
    assert_true(ignored(&config, "OPTIONS", "/a"));
    assert_true(ignored(&config, "HEAD", "/a"));
    assert_true(ignored(&config, "OPTIONS", "*"));
    assert_false(ignored(&config, "GET", "/a"));
    assert_false(ignored(&config, "GET", "/app.CSS"));
    assert_false(ignored(&config, "GET", "/app.css/"));
    assert_false(ignored(&config, "GET", ".css"));
    assert_false(ignored(&config, "GET", "/a?file=app.css"));
    assert_false(ignored(&config, "GET", "/healthz"));
    assert_false(ignored(&config, "GET", "/a?x=/health"));
    assert_false(ignored(&config, "POST", "/OPTIONS"));
    assert_false(ignored(&config, "", ""));
}

static void empty_lists_ignore_nothing(void **state)
{
    struct sky_config config = {0};
    (void)state;

    assert_false(ignored(&config, "GET", "/app.css"));
    assert_false(ignored(&config, "GET", ""));
    assert_false(ignored(&config, "OPTIONS", "*"));
}

static void health_checks_are_known(void **state)
{
    static const char *const probes[] = {
        "kube-probe/1.29",
        "ELB-HealthChecker/2.0",
        "Amazon-Route53-Health-Check-Service (ref 1; report http://amzn.to/1)",
        "GoogleHC/1.0",
        "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
        "Edge Health Probe",
        "Load Balancer Agent",
        "Consul Health Check",
        "Envoy/HC",
    };
    static const char *const others[] = {
        "", "kube-probe", "Kube-Probe/1.29", "Mozilla/5.0 kube-probe/1.29", "curl/8.0",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        struct sky_text copy = exact_copy(probes[i], strlen(probes[i]));
        assert_true(sky_ignore_probe(copy));
        exact_free(copy);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct sky_text copy = exact_copy(others[i], strlen(others[i]));
        assert_false(sky_ignore_probe(copy));
        exact_free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_checks_are_known),
        cmocka_unit_test(the_agent_and_we_agree),
        cmocka_unit_test(all_short_patterns_mean_their_regular_expression),
        cmocka_unit_test(long_patterns_match_up_to_the_limit),
        cmocka_unit_test(lists_are_asked_for_what_they_are_about),
        cmocka_unit_test(empty_lists_ignore_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

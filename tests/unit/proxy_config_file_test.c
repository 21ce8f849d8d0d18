/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML file: what a sound one sets, and the exact line for each mistake. */
#include "tests/unit/config_fixture.h"

#include "tests/fuzz/corpus.h"

#define UPSTREAM_MEMBERS                                                  \
    "{servers: [ADDR, ...], balance: WORD, max_fails: NUMBER, ...}: see " \
    "\"Upstreams\" in the reference"
#define SERVER_MEMBERS \
    "ADDR, or {address: ADDR, weight: NUMBER, max_connections: NUMBER, backup: on}"
#define TLS_MEMBERS                                                                             \
    "{certificate: FILE, key: FILE, ocsp: FILE, certificates: [{certificate: FILE, key: FILE, " \
    "ocsp: FILE}, ...], "                                                                       \
    "client_ca: FILE, client_auth: require or optional, hsts: VALUE}"

static const struct mistake {
    const char *text, *lines;
} mistakes[] = {
    {"agent: {servce: shop}\n",
     "shop.yaml:1:9: agent.servce: unknown option; accepted: service, instance, namespace, "
     "properties, mode, "
     "trust_incoming, operation, shape, error_status, ignore_path, ignore_suffix, ignore_method, "
     "ignore_probes, http_params, http_params_length, http_headers, mask, sampling; did you "
     "mean agent.service?\n"},
    {"repoter: {}\n",
     "shop.yaml:1:1: repoter: unknown option; accepted: listen, upstreams, routes, agent, "
     "reporter, "
     "local, stitch, forwarded, limits, rate_limit, buffer, timeouts, error_pages, unknown_host, "
     "user, group, pid_file, workers, admin, log; did you mean "
     "reporter?\n"},
    {"\n\nservice: shop\n",
     "shop.yaml:3:1: service: unknown option; accepted: listen, upstreams, routes, agent, "
     "reporter, "
     "local, stitch, forwarded, limits, rate_limit, buffer, timeouts, error_pages, unknown_host, "
     "user, group, pid_file, workers, admin, log; did you mean "
     "agent.service?\n"},
    {"log: {colour: red}\n",
     "shop.yaml:1:7: log.colour: unknown option; accepted: level, access, format, access_buffer\n"},
    {"reporter:\n  batch: {intervall: 1s}\n",
     "shop.yaml:2:11: reporter.batch.intervall: unknown option; accepted: interval, max; did you "
     "mean reporter.batch.interval?\n"},
    {"stitch: {hold: soon}\n",
     "shop.yaml:1:16: stitch.hold: \"soon\" is no number with a unit; accepted: a time with its "
     "unit, as 250ms, 1s, 5m or 1h, 0ms to 10s\n"},
    {"workers: 1\nworkers: 2\n", "shop.yaml:2:1: workers: is given twice\n"},
    {"agent: {service: a}\nagent: {mode: stitch}\n", "shop.yaml:2:1: agent: is given twice\n"},
    {"limits.body: 1GiB\n",
     "shop.yaml:1:1: limits.body: has a dot in its key; accepted: one level a "
     "line, as {limits: {body: 1GiB}}\n"},
    {"agent: []\n",
     "shop.yaml:1:8: agent: is no mapping; accepted: service, instance, namespace, properties, "
     "mode, "
     "trust_incoming, operation, shape, error_status, ignore_path, ignore_suffix, ignore_method, "
     "ignore_probes, http_params, http_params_length, http_headers, mask, sampling\n"},
    {"- a\n",
     "shop.yaml:1:1: is no mapping; accepted: listen, upstreams, routes, agent, reporter, "
     "local, stitch, forwarded, limits, rate_limit, buffer, timeouts, error_pages, unknown_host, "
     "user, group, pid_file, workers, admin, log\n"},
    {"workers: [1]\n",
     "shop.yaml:1:10: workers: is a list; accepted: auto or a number, 1 to 1024\n"},
    {"workers: {a: 1}\n",
     "shop.yaml:1:10: workers: is a mapping; accepted: auto or a number, 1 to 1024\n"},
    {"agent: {ignore_path: [/a, [/b]]}\n",
     "shop.yaml:1:27: agent.ignore_path: is a list; accepted: a list of texts\n"},
    {"agent: {service: \"a\\0b\"}\n",
     "shop.yaml:1:18: agent.service: holds a NUL byte; accepted: a text, 1 to 200 bytes\n"},
    {"[a]: 1\n", "shop.yaml:1:1: is a list; accepted: a name before the colon\n"},
    {"workers: 1\n---\nworkers: 2\n", "shop.yaml:3:1: is a second document\n"},

    {"agent: [}\n", "shop.yaml:1:9: is not YAML: did not find expected node content\n"},
    {"agent: {service: a\n", "shop.yaml:2:1: is not YAML: did not find expected ',' or '}'\n"},
    {"a: 1\n b: 2\n",
     "shop.yaml:2:3: is not YAML: mapping values are not allowed in this context\n"},
    {"log: {level: \"\xff\"}\n", "shop.yaml:1:15: is not YAML: invalid leading UTF-8 octet\n"},
    {"a: 1\nb: \x01\n", "shop.yaml:2:4: is not YAML: control characters are not allowed\n"},
    {"a: *b\n", "shop.yaml:1:4: is not YAML: found undefined alias\n"},

    {"listen: [8080]\n", "shop.yaml:1:10: listen: \"8080\" has no port; accepted: host:port, "
                         "[v6]:port, :port or unix:/path\n"},
    {"listen: [{port: 8080}]\n",
     "shop.yaml:1:11: listen.port: unknown option; accepted: {address: ADDR, tls: {certificate: "
     "FILE, key: FILE}, redirect_https: PORT, http2: on or off, h2c: on or off, proxy_protocol: on "
     "or off, forwarded: {trust: LIST}, trust_incoming: LIST}\n"},
    {"listen: [{}]\n",
     "shop.yaml:1:10: listen: \"address\" is missing; accepted: {address: ADDR, tls: {certificate: "
     "FILE, key: FILE}, redirect_https: PORT, http2: on or off, h2c: on or off, proxy_protocol: on "
     "or off, forwarded: {trust: LIST}, trust_incoming: LIST}\n"},
    {"listen: [{address: \":1\", redirect_https: 70000}]\n",
     "shop.yaml:1:42: listen.redirect_https: \"70000\" is no port; accepted: on, off or a port\n"},
    {"listen: [{address: \":1\", redirect_https: 1x}]\n",
     "shop.yaml:1:42: listen.redirect_https: \"1x\" is no port; accepted: on, off or a port\n"},
    {"listen: [{address: \":1\", redirect_https: on, tls: {certificate: a, key: b}}]\n",
     "shop.yaml:1:42: listen.redirect_https: \"on\" is given to a listener with tls; accepted: on, "
     "off or a port\n"},
    {"listen: [{address: \":1\", http2: on}]\n",
     "shop.yaml:1:33: listen.http2: is given to a listener without tls; accepted: h2c: on for "
     "HTTP/2 without it\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: b}, http2: 2}]\n",
     "shop.yaml:1:64: listen.http2: \"2\" is neither; accepted: on or off\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: b}, h2c: on}]\n",
     "shop.yaml:1:62: listen.h2c: is given to a listener with tls; accepted: http2, on by itself "
     "there\n"},
    {"listen: [{address: \":1\", redirect_https: on, h2c: on}]\n",
     "shop.yaml:1:51: listen.h2c: is given to a listener that redirects to https\n"},
    {"listen: [{address: \":1\", forwarded: {trust: 10.0.0.0/33}}]\n",
     "shop.yaml:1:45: listen.forwarded.trust: \"10.0.0.0/33\" has a prefix length that is no "
     "number "
     "up to 32 (IPv4) or 128; accepted: private, always, never, or a list of CIDRs, private and "
     "unix\n"},
    {"listen: [{address: \":1\", trust_incoming: [10.0.0.0/8, never]}]\n",
     "shop.yaml:1:42: listen.trust_incoming: \"10.0.0.0/8,never\" has always or never beside "
     "another entry; accepted: private, always, never, or a list of CIDRs, private and unix\n"},
    {"listen: [{address: \":1\", forwarded: {rfc7239: on}}]\n",
     "shop.yaml:1:38: listen.forwarded.rfc7239: unknown option; accepted: {trust: LIST}\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: a, hsts: 1y}}]\n",
     "shop.yaml:1:62: listen.tls.hsts: \"1y\" does not begin with max-age=; accepted: a field's "
     "value, as max-age=31536000; includeSubDomains\n"},
    {"listen: [{address: \":1\", tls: {certificate: a}}]\n",
     "shop.yaml:1:31: listen.tls: has a certificate without its key; accepted: {certificate: FILE, "
     "key: FILE, ocsp: FILE}\n"},
    {"listen: [{address: \":1\", tls: {key: a}}]\n",
     "shop.yaml:1:31: listen.tls: has a key without its certificate; accepted: {certificate: FILE, "
     "key: FILE, ocsp: FILE}\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: \"\"}}]\n",
     "shop.yaml:1:53: listen.tls.key: is empty; accepted: a file\n"},
    {"listen: [{address: \":1\", tls: {client_ca: a}}]\n",
     "shop.yaml:1:31: listen.tls: has no certificate; accepted: " TLS_MEMBERS "\n"},
    {"listen: [{address: \":1\", tls: {certificates: [{certificate: a}]}}]\n",
     "shop.yaml:1:47: listen.tls.certificates: \"key\" is missing; accepted: {certificate: FILE, "
     "key: FILE, ocsp: FILE}\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: a, client_auth: optional}}]\n",
     "shop.yaml:1:69: listen.tls.client_auth: is given without client_ca; accepted: " TLS_MEMBERS
     "\n"},
    {"listen: [{address: \":1\", tls: {certificate: a, key: a, client_ca: a, client_auth: on}}]\n",
     "shop.yaml:1:83: listen.tls.client_auth: \"on\" is neither; accepted: require or "
     "optional\n"},
    {"listen: [\":80\", \":80\"]\n",
     "shop.yaml:1:17: listen: \":80\" is listened on twice; accepted: "
     "host:port, [v6]:port, :port or unix:/path\n"},
    {"upstreams: [app]\n",
     "shop.yaml:1:12: upstreams: is no mapping; accepted: NAME: {servers: [ADDR, ...]}\n"},
    {"upstreams: {app: \"a:1\"}\n",
     "shop.yaml:1:18: upstreams.app: is no mapping; accepted: " UPSTREAM_MEMBERS "\n"},
    {"upstreams: {app: {servers: [\"a:1\"], max_fails: few}}\n",
     "shop.yaml:1:48: upstreams.app.max_fails: \"few\" is no number; accepted: a number, 0 to "
     "1000\n"},
    {"upstreams: {app: {server: \"a:1\"}}\n",
     "shop.yaml:1:19: upstreams.app.server: unknown option; accepted: " UPSTREAM_MEMBERS
     "; did you mean servers?\n"},
    {"upstreams: {app: {balance: least_conn}}\n",
     "shop.yaml:1:18: upstreams.app: \"servers\" is missing; accepted: " UPSTREAM_MEMBERS "\n"},
    {"upstreams: {app: {servers: [\"a:1\"], balance: random}}\n",
     "shop.yaml:1:46: upstreams.app.balance: \"random\" is not one of the words; accepted: "
     "round_robin, least_conn\n"},
    {"upstreams: {app: {servers: [{address: \"a:1\", weight: 0}]}}\n",
     "shop.yaml:1:54: upstreams.app.weight: \"0\" is too small; accepted: a number, 1 to 1000\n"},
    {"upstreams: {app: {servers: [{adress: \"a:1\"}]}}\n",
     "shop.yaml:1:30: upstreams.app.adress: unknown option; accepted: " SERVER_MEMBERS
     "; did you mean address?\n"},
    {"upstreams: {app: {servers: [{weight: 2}]}}\n",
     "shop.yaml:1:29: upstreams.app: \"address\" is missing; accepted: " SERVER_MEMBERS "\n"},
    {"upstreams: {app: {servers: [\"uwsgi://a:1\", \"http://b:1\"]}}\n",
     "shop.yaml:1:44: upstreams.app: \"http://b:1\" speaks another protocol than the servers "
     "before "
     "it; accepted: host:port, [v6]:port, :port or unix:/path\n"},
    {"upstreams: {app: {servers: [\"a:1\"], health_check: {path: x}}}\n",
     "shop.yaml:1:58: upstreams.app.health_check.path: \"x\" does not begin with /; accepted: a "
     "path that begins with /, or nothing\n"},
    {"upstreams: {app: {servers: [\"a:1\"], health_check: {status: 20}}}\n",
     "shop.yaml:1:60: upstreams.app.health_check.status: \"20\" is no range of statuses; accepted: "
     "a status or a range, as 204 or 200-399\n"},
    {"upstreams: {app: {servers: [\"a:1\"], health_check: {status: 300-200}}}\n",
     "shop.yaml:1:60: upstreams.app.health_check.status: \"300-200\" is no range of statuses; "
     "accepted: a status or a range, as 204 or 200-399\n"},
    {"upstreams: {app: {servers: [\"a:1\"], health_check: {host: \"a b\"}}}\n",
     "shop.yaml:1:58: upstreams.app.health_check.host: \"a b\" is no host; accepted: a host, maybe "
     "with a port, or nothing\n"},
    {"upstreams: {app: {servers: [\"a:1\"], health_check: {paht: /}}}\n",
     "shop.yaml:1:52: upstreams.app.health_check.paht: unknown option; accepted: " UPSTREAM_MEMBERS
     "; did you mean path?\n"},
    {"upstreams: {app: {servers: []}}\n",
     "shop.yaml:1:28: upstreams.app: is empty; accepted: [ADDR, ...]\n"},
    {"upstreams: {app: {servers: [a]}}\n", "shop.yaml:1:29: upstreams.app: \"a\" has no port; "
                                           "accepted: host:port, [v6]:port, :port or unix:/path\n"},
    {"upstreams: {\"a b\": {servers: [\"a:1\"]}}\n",
     "shop.yaml:1:13: upstreams: \"a b\" is no name of letters, digits and -._\n"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: /, upstream: ap}]\n",
     "shop.yaml:2:30: routes.upstream: \"ap\" is not among upstreams; did you mean app?\n"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: x, upstream: app}]\n",
     "shop.yaml:2:17: routes.path: \"x\" is no path that begins with /\n"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: /, upstream: app}, {path: /, "
     "upstream: app}]\n",
     "shop.yaml:2:43: routes.path: \"/\" is the path of two routes\n"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: /, upstream: app, host: a}, {path: "
     "/, "
     "upstream: app, host: A}]\n",
     "shop.yaml:2:52: routes.path: \"/\" is the path of two routes\n"},
    {"upstreams: {app: {servers: [\"a:1\"]}}\nroutes: [{path: /, upstream: app, host: \"a:1\"}]\n",
     "shop.yaml:2:41: routes.host: \"a:1\" is no host name; accepted: example.org, *.example.org "
     "or "
     "default\n"},
    {"routes: [{path: /}]\n",
     "shop.yaml:1:10: routes: has no target; accepted: static, upstream (or both), redirect or "
     "return\n"},
    {"routes: [{upstream: a}]\n",
     "shop.yaml:1:10: routes: \"path\" is missing; accepted: path, host, upstream, static, index, "
     "cache_control, redirect, "
     "return, "
     "strip_prefix, traced, sampling, limits, timeouts, rate_limit, compress, error_pages, "
     "intercept_errors, request_buffering, "
     "request_headers, "
     "response_headers\n"},
    {"agent: {\"a\\eb\": 1}\n",
     "shop.yaml:1:9: agent.a\\x1bb: unknown option; accepted: service, instance, namespace, "
     "properties, mode, "
     "trust_incoming, operation, shape, error_status, ignore_path, ignore_suffix, ignore_method, "
     "ignore_probes, http_params, http_params_length, http_headers, mask, sampling\n"},
    /* all of them, not only the first */
    {"workers: 0\nlog: {level: loud}\n",
     "shop.yaml:1:10: workers: \"0\" is too small; accepted: auto or a number, 1 to 1024\n"
     "shop.yaml:2:14: log.level: \"loud\" is not one of the words; accepted: error, warn, info, "
     "debug\n"},
};

static void test_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct reading reading;
        read_file_text(&reading, mistakes[i].text, strlen(mistakes[i].text));
        assert_string_equal(reading.lines, mistakes[i].lines);
        assert_true(reading.problems.errors > 0);
        reading_end(&reading);
    }
}

static const char whole[] =
    "listen: [{address: \":8080\"}, \"unix:/run/s\", {address: \":8443\", "
    "tls: {certificate: a, key: b, certificates: [{certificate: c, key: "
    "d}], client_ca: e, client_auth: optional}}]\n"
    "routes:\n"
    "  - {path: /, upstream: app}\n"
    "  - {path: /reports/, upstream: b}\n"
    "  - {path: /rep, upstream: b}\n"
    "upstreams:\n"
    "  app: {servers: [\"unix:/run/app.sock\", \":8000\"], fail_timeout: 1m}\n"
    "  b:\n"
    "    servers: [\"b:1\", {address: \"b:2\", weight: 3}, {address: \"b:3\", backup: on}]\n"
    "    balance: least_conn\n"
    "    queue: {max: 7}\n"
    "    health_check: {path: /h, status: 204, interval: 2s}\n"
    "  u: {servers: [\"uwsgi://unix:/run/u\", \"a:2\"]}\n"
    "agent:\n"
    "  service: shop\n"
    "  trust_incoming: [10.0.0.0/8, unix]\n"
    "  ignore_suffix:\n"
    "  ignore_path: [\"/a,b\", /c]\n"
    "reporter: {batch: {max: 64KiB}}\n"
    "limits:\n"
    "admin: {listen: off}\n";

static const struct sky_upstream_config *u_of(const struct sky_config *config)
{
    return &config->upstreams[2];
}

static void test_whole(void **state)
{
    struct reading reading;
    (void)state;
    read_file_text(&reading, whole, sizeof(whole) - 1);
    const struct sky_config *config = reading.config;
    assert_string_equal(reading.lines, "");
    assert_int_equal(config->listener_count, 3);
    const struct sky_tls_config *tls = &config->listeners[2].tls;
    assert_int_equal(tls->certificate_count, 2);
    assert_string_equal(tls->certificates[0].certificate, "a");
    assert_string_equal(tls->certificates[0].key, "b");
    assert_string_equal(tls->certificates[1].certificate, "c");
    assert_string_equal(tls->certificates[1].key, "d");
    assert_string_equal(tls->client_ca, "e");
    assert_int_equal(tls->client_auth, SKY_CLIENT_AUTH_OPTIONAL);
    assert_int_equal(config->listeners[0].tls.certificate_count, 0);
    assert_string_equal(config->listeners[1].address.text, "unix:/run/s");
    assert_int_equal(config->upstream_count, 3);
    assert_int_equal(config->upstreams[0].server_count, 2);
    assert_int_equal(config->upstreams[0].max_fails, 3);
    assert_int_equal(config->upstreams[0].fail_timeout_ms, 60000);
    assert_string_equal(config->upstreams[0].servers[1].address.text, "127.0.0.1:8000");
    const struct sky_upstream_config *b = &config->upstreams[1];
    assert_int_equal(b->balance, SKY_BALANCE_LEAST_CONN);
    assert_int_equal(b->server_count, 3);
    assert_int_equal(b->queue.max, 7);
    assert_string_equal(b->health_check.path, "/h");
    assert_int_equal(b->health_check.status.min, 204);
    assert_int_equal(b->health_check.status.max, 204);
    assert_int_equal(b->health_check.interval_ms, 2000);
    assert_int_equal(u_of(config)->health_check.status.max, 399);
    assert_int_equal(b->queue.timeout_ms, 10000);
    assert_int_equal(b->protocol, SKY_UPSTREAM_HTTP);
    const struct sky_upstream_config *u = u_of(config);
    assert_int_equal(u->protocol, SKY_UPSTREAM_UWSGI);
    assert_string_equal(u->servers[0].address.text, "unix:/run/u");
    assert_int_equal(b->servers[0].weight, 1);
    assert_int_equal(b->servers[1].weight, 3);
    assert_string_equal(b->servers[1].address.text, "b:2");
    assert_false(b->servers[1].backup);
    assert_true(b->servers[2].backup);
    assert_int_equal(config->route_count, 3); /* longest prefix first */
    assert_string_equal(config->routes[0].path, "/reports/");
    assert_string_equal(config->routes[1].path, "/rep");
    assert_ptr_equal(config->routes[1].upstream, &config->upstreams[1]);
    assert_string_equal(config->routes[2].path, "/");
    assert_string_equal(config->agent.name, "shop");
    assert_int_equal(config->agent.trust_incoming.cidr_count, 1);
    assert_true(config->agent.trust_incoming.unix_sockets);
    assert_int_equal(config->agent.ignore_suffix.count, 0);
    assert_int_equal(config->agent.ignore_path.count, 2);
    assert_string_equal(config->agent.ignore_path.items[0], "/a,b");
    assert_int_equal(config->reporter.batch_max, 65536);
    assert_false(config->admin.enabled);
    assert_int_equal(config->limits.header_fields, 90); /* not in the file */
    reading_end(&reading);
}

/* Any beginning of a sound file is read or refused; nothing leaks (AddressSanitizer watches). */
static void test_cut(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(whole); len++) {
        struct reading reading;
        char *exact = malloc(len + 1);
        memcpy(exact, whole, len);
        read_file_text(&reading, exact, len);
        assert_true((reading.problems.errors > 0) == (reading.size > 0));
        free(exact);
        reading_end(&reading);
    }
}

static void test_many_errors(void **state)
{
    char text[8192] = "";
    struct reading reading;
    size_t lines = 0;
    (void)state;
    for (size_t i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "unknown%zu: 1\n", i);
    read_file_text(&reading, text, strlen(text));
    for (const char *at = reading.lines; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(reading.problems.errors, 100);
    assert_int_equal(lines, 42);
    assert_non_null(strstr(reading.lines, "more is wrong, but not shown\n"));
    reading_end(&reading);
}

static void test_many_keys(void **state)
{
    char *text = calloc(1, 32768);
    struct reading reading;
    (void)state;
    for (size_t i = 0; i < 1001; i++)
        sprintf(text + strlen(text), "k%zu: 1\n", i);
    read_file_text(&reading, text, strlen(text));
    assert_string_equal(reading.lines, "shop.yaml:1:1: has more than 1000 keys\n");
    reading_end(&reading);
    free(text);
}

static void test_files(void **state)
{
    static const struct {
        const char *name, *lines;
    } files[] = {{"/nonexistent/s.yaml", "/nonexistent/s.yaml: No such file or directory\n"},
                 {"/tmp", "/tmp: Is a directory\n"},
                 {"/dev/zero", "/dev/zero: is larger than 1 MiB\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct reading reading;
        reading_begin(&reading);
        reading.config = sky_config_defaults(&reading.problems);
        sky_config_file_load(reading.config, files[i].name, &reading.problems);
        fflush(reading.problems.out);
        assert_string_equal(reading.lines, files[i].lines);
        reading_end(&reading);
    }
}

static void test_delivered_file(void **state)
{
    static const char name[] = SKY_TESTS_DIR "/../conf/skystitch.yaml";
    struct reading reading;
    (void)state;
    read_all(&reading, ARGUMENTS("--config", name), NO_ARGUMENTS);
    assert_string_equal(reading.lines, "");
    assert_non_null(reading.config);
    assert_string_equal(reading.config->agent.service, "shop");
    reading_end(&reading);
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(sky_corpus_run("config_file") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_many_errors),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_delivered_file),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

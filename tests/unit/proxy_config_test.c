/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, the precedence of all sources, what only the whole tells, and printing. */
#include "tests/unit/config_fixture.h"

#include <jansson.h>
#include <unistd.h>

#include "proxy/config/config_option.h"

static const struct sample {
    const char *const *arguments;
    const char *lines;
} samples[] = {
    {ARGUMENTS("--upstream", "a:1"), ""},
    {ARGUMENTS("--upstream=a:1", "--set=limits.body=1GiB"), ""},
    {ARGUMENTS("--upstream", "a:1", "--check"), ""},
    {ARGUMENTS("--upstream", "a:1", "--lisen", ":8080"),
     "command line: --lisen: unknown option; did you mean --listen?\n"},
    {ARGUMENTS("--upstream", "a:1", "--colour"),
     "command line: --colour: unknown option; accepted: what --help shows\n"},
    {ARGUMENTS("--upstream", "a:1", "--check=1"), "command line: --check: takes no value\n"},
    {ARGUMENTS("--upstream", "a:1", "--listen"),
     "command line: --listen: has no value; accepted: one behind it, as --help shows\n"},
    {ARGUMENTS("--upstream", "a:1", "stray"),
     "command line: stray: is no option; accepted: skystitch --help shows them\n"},
    {ARGUMENTS("--upstream", "a:1", "--listen", "nowhere"),
     "command line: --listen: \"nowhere\" has no port; accepted: host:port, [v6]:port, :port or "
     "unix:/path\n"},
    {ARGUMENTS("--upstream", "a"),
     "command line: --upstream: \"a\" has no port; accepted: host:port, [v6]:port, :port or "
     "unix:/path\n"},
    {ARGUMENTS("--upstream", "a:1", "--service", ""),
     "command line: --service: \"\" is empty; accepted: a text, 1 to 200 bytes\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "stitch.hold"),
     "command line: --set: has no =; accepted: key=value, as limits.body=1GiB\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "agent.servce=x"),
     "command line: agent.servce: unknown option; did you mean agent.service?\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "agent=x"),
     "command line: agent: is a section; accepted: service, instance, namespace, properties, mode, "
     "trust_incoming, operation, shape, error_status, ignore_path, ignore_suffix, ignore_method, "
     "ignore_probes, http_params, http_params_length, http_headers, mask, sampling\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "routes=x"),
     "command line: routes: is a list of the file; accepted: --listen ADDR, --upstream ADDR\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "stitch.hold=soon"),
     "command line: stitch.hold: \"soon\" is no number with a unit; accepted: a time with its "
     "unit, "
     "as 250ms, 1s, 5m or 1h, 0ms to 10s\n"},
    /* what only the whole tells */
    {NO_ARGUMENTS, "upstreams: none is given; accepted: where the app listens, as --upstream "
                   "127.0.0.1:8000 or --upstream unix:/run/app.sock\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "reporter.protocol=grpc"),
     "reporter.backends: is empty, but reporter.protocol needs a backend; accepted: "
     "SW_AGENT_COLLECTOR_BACKEND_SERVICES=oap:11800, or reporter.protocol local\n"},
    {ARGUMENTS("--upstream", "a:1", "--service", "shop", "--set", "reporter.backends=oap:11800",
               "--set", "reporter.tls.ca=/nowhere/ca.pem"),
     "reporter.tls.ca: /nowhere/ca.pem: No such file or directory\n"},
    {ARGUMENTS("--upstream", "a:1", "--service", "shop", "--set", "reporter.backends=oap:11800",
               "--set", "reporter.tls.ca=/dev/null"),
     "reporter.tls.ca: /dev/null: no certificate or crl found\n"},
    {ARGUMENTS("--upstream", "a:1", "--service", "shop", "--set", "reporter.backends=oap:11800",
               "--set", "reporter.tls.certificate=/a.pem"),
     "reporter.tls.key: is not given, but certificate is\n"},
    {ARGUMENTS("--upstream", "a:1", "--service", "shop", "--set", "reporter.backends=oap:11800",
               "--set", "reporter.tls.enabled=off", "--set", "reporter.tls.server_name=oap"),
     "reporter.tls.enabled: is off, but other options of reporter.tls are set; accepted: on or "
     "auto, or without them\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "reporter.tls.ca=/nowhere/ca.pem"), ""},
    {ARGUMENTS("--upstream", "a:1", "--service", "shop", "--set", "reporter.protocol=kafka",
               "--set", "reporter.kafka.brokers=a:9092,b:9092", "--set",
               "reporter.kafka.properties=no.such=1"),
     "reporter.kafka.properties: no.such: No such configuration property: \"no.such\"\n"},
    {ARGUMENTS("--upstream", "a:1", "--set", "reporter.backends=oap:11800"),
     "warning: agent.service: \"skystitch\" is the default; name yours by --service or "
     "SW_AGENT_NAME\n"},
};

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        struct reading reading;
        read_all(&reading, samples[i].arguments, NO_ARGUMENTS);
        assert_string_equal(reading.lines, samples[i].lines);
        assert_true((reading.config == NULL) == (reading.problems.errors > 0));
        reading_end(&reading);
    }
}

static void test_actions(void **state)
{
    static const struct {
        const char *flag;
        enum sky_config_action action;
    } flags[] = {
        {"--check", SKY_CONFIG_CHECK},
        {"--print-config", SKY_CONFIG_PRINT},
        {"--print-example", SKY_CONFIG_PRINT_EXAMPLE},
        {"--print-reference", SKY_CONFIG_PRINT_REFERENCE},
        {"--version", SKY_CONFIG_VERSION},
        {"--help", SKY_CONFIG_HELP},
        {"-h", SKY_CONFIG_HELP},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct sky_problems problems = {.out = stderr};
        struct sky_command command;
        char *argv[] = {(char[]){"skystitch"}, strdup(flags[i].flag)};
        sky_command_read(&command, 2, argv, &problems);
        assert_int_equal(command.action, flags[i].action);
        sky_command_fini(&command);
        free(argv[1]);
    }
}

/* A file of that text; unlinked by the caller. */
static void write_file(char *name, const char *text)
{
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void test_precedence(void **state)
{
    char name[] = "/tmp/skystitch-config-XXXXXX";
    struct reading reading;
    (void)state;
    write_file(name, "listen: [\":1\"]\n"
                     "upstreams: {a: {servers: [\"a:1\"]}, b: {servers: [\"b:1\"]}}\n"
                     "routes: [{path: /, upstream: a}, {path: /b/, upstream: b}]\n"
                     "agent: {service: file, instance: file, namespace: file}\n"
                     "stitch: {hold: 100ms}\n");
    read_all(
        &reading,
        ARGUMENTS("--service", "line", "--config", name, "--upstream", "c:1", "--upstream", "c:2"),
        ARGUMENTS("SW_AGENT_NAME=env", "SW_AGENT_INSTANCE_NAME=env"));
    unlink(name);
    const struct sky_config *config = reading.config;
    assert_string_equal(reading.lines, "");
    assert_string_equal(config->agent.service, "line|file");
    assert_string_equal(config->agent.instance, "env");
    assert_int_equal(config->stitch.hold_ms, 100);
    assert_int_equal(config->limits.header_fields, 90);
    assert_int_equal(config->listener_count, 1);
    assert_string_equal(config->listeners[0].address.text, ":1");
    assert_int_equal(config->upstream_count, 1); /* replaced, with the routes */
    assert_int_equal(config->upstreams[0].server_count, 2);
    assert_int_equal(config->route_count, 1);
    assert_string_equal(config->routes[0].path, "/");
    reading_end(&reading);
}

/* As the Python agent's users have them: names of kafka-python, whose secrets are not shown. */
static void test_kafka(void **state)
{
    struct reading reading;
    (void)state;
    read_all(&reading, ARGUMENTS("--upstream", "a:1", "--service", "shop"),
             ARGUMENTS("SW_AGENT_PROTOCOL=kafka", "SW_KAFKA_BOOTSTRAP_SERVERS=a:9092,b:9092",
                       "SW_KAFKA_REPORTER_CONFIG_linger_ms=10",
                       "SW_KAFKA_REPORTER_CONFIG_SASL_PLAIN_PASSWORD=geheim"));
    assert_string_equal(reading.lines, "");
    const struct sky_strings *properties = &reading.config->reporter.kafka.properties;
    assert_string_equal(reading.config->reporter.kafka.brokers, "a:9092,b:9092");
    assert_int_equal(properties->count, 2);
    assert_string_equal(properties->items[0], "linger.ms=10");
    assert_string_equal(properties->items[1], "sasl.password=geheim");
    char *json = sky_config_json(reading.config);
    assert_null(strstr(json, "geheim"));
    assert_non_null(strstr(json, "sasl.password=********"));
    free(json);
    reading_end(&reading);
}

static void test_several_upstreams_need_routes(void **state)
{
    char name[] = "/tmp/skystitch-config-XXXXXX";
    struct reading reading;
    (void)state;
    write_file(name, "upstreams: {a: {servers: [\"a:1\"]}, b: {servers: [\"b:1\"]}}\n");
    read_all(&reading, ARGUMENTS("--config", name), NO_ARGUMENTS);
    unlink(name);
    assert_null(reading.config);
    assert_string_equal(reading.lines,
                        "routes: none is given, and there is more than one upstream; accepted: "
                        "routes: [{path: /, upstream: NAME}, ...]\n");
    reading_end(&reading);
}

static void test_completed_defaults(void **state)
{
    struct reading reading;
    char host[256] = "";
    (void)state;
    gethostname(host, sizeof(host) - 1);
    read_all(&reading, ARGUMENTS("--upstream", "unix:/run/a"), NO_ARGUMENTS);
    const struct sky_config *config = reading.config;
    assert_string_equal(config->listeners[0].address.text, ":8080");
    assert_string_equal(config->agent.service, "skystitch");
    assert_string_equal(config->agent.instance, host);
    assert_int_equal(config->reporter.protocol, SKY_CONFIG_PROTOCOL_LOCAL);
    assert_int_equal(config->local.enabled, SKY_SWITCH_ON);
    assert_true(config->workers >= 1);
    assert_int_equal(config->agent.ignore_suffix.count, 12);
    reading_end(&reading);
}

/* What is printed is a configuration that prints the same. */
static void test_printed_reads_back(void **state)
{
    char name[] = "/tmp/skystitch-config-XXXXXX";
    struct reading reading, again;
    (void)state;
    read_all(&reading,
             ARGUMENTS("--upstream", "unix:/run/a \"b\"", "--set", "agent.ignore_path=/a/**,/b: #c",
                       "--set", "agent.service=caf\xc3\xa9 \\ 'x'", "--set", "admin.listen=off"),
             NO_ARGUMENTS);
    assert_string_equal(reading.lines, "");
    char *text = printed(reading.config);
    write_file(name, text);
    read_all(&again, ARGUMENTS("--config", name), NO_ARGUMENTS);
    unlink(name);
    assert_string_equal(again.lines, "");
    char *text_again = printed(again.config);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    reading_end(&reading);
    reading_end(&again);
}

static void test_secrets_are_masked(void **state)
{
    struct reading reading;
    (void)state;
    read_all(&reading, ARGUMENTS("--upstream", "a:1"),
             ARGUMENTS("SKYSTITCH_TOKEN=s3cret", "SW_AGENT_AUTHENTICATION=s3cret"));
    assert_string_equal(reading.config->stitch.token, "s3cret");
    char *yaml = printed(reading.config), *json = sky_config_json(reading.config);
    assert_null(strstr(yaml, "s3cret"));
    assert_null(strstr(json, "s3cret"));
    assert_non_null(strstr(yaml, "********"));
    free(yaml);
    free(json);
    reading_end(&reading);
}

/* A name is compared with its length in view: short ones with one edit, none with more than three.
 */
static void test_nearest(void **state)
{
    char nearest[64];
    (void)state;
    assert_int_equal(sky_problem_distance("service", "service", 3), 0);
    assert_int_equal(sky_problem_distance("service", "servcie", 3), 1); /* swapped */
    assert_int_equal(sky_problem_distance("service", "servce", 3), 1);
    assert_int_equal(sky_problem_distance("service", "serrvice", 3), 1);
    assert_int_equal(sky_problem_distance("service", "SERVICE", 3), 0);
    assert_int_equal(sky_problem_distance("header-fields", "header_fields", 3), 0);
    assert_int_equal(sky_problem_distance("abc", "xyz", 2), 3);
    assert_int_equal(sky_problem_distance("", "ab", 3), 2);
    assert_int_equal(sky_problem_distance("a", "abcdef", 3), 4);
    assert_true(sky_option_nearest("limits.header-fields", nearest, sizeof(nearest)));
    assert_string_equal(nearest, "limits.header_fields");
    assert_true(sky_option_nearest("limit.body", nearest, sizeof(nearest)));
    assert_string_equal(nearest, "limits.body");
    assert_true(sky_option_nearest("listn", nearest, sizeof(nearest)));
    assert_string_equal(nearest, "listen");
    assert_false(sky_option_nearest("timeouts.foo", nearest, sizeof(nearest)));
    assert_false(sky_option_nearest("", nearest, sizeof(nearest)));
    char longer[300];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_false(sky_option_nearest(longer, nearest, sizeof(nearest)));
}

/* docs/reference.md is what the program says of itself. */
static void test_reference(void **state)
{
    static const char name[] = SKY_TESTS_DIR "/../docs/reference.md";
    char *text = NULL, *page = NULL;
    size_t size, page_size;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    sky_config_write_reference(out);
    fclose(out);
    FILE *file = fopen(name, "re");
    FILE *copy = open_memstream(&page, &page_size);
    for (int byte; file != NULL && (byte = fgetc(file)) != EOF;)
        fputc(byte, copy);
    fclose(copy);
    if (file != NULL)
        fclose(file);
    if (strcmp(text, page) != 0)
        fail_msg("docs/reference.md is old: skystitch --print-reference > docs/reference.md");
    free(text);
    free(page);
}

static void test_help_fits_a_screen(void **state)
{
    char *text = NULL;
    size_t size, lines = 0;
    (void)state;
    FILE *out = open_memstream(&text, &size);
    sky_command_help(out);
    fclose(out);
    for (const char *line = text; *line != '\0'; lines++) {
        size_t len = strcspn(line, "\n");
        assert_true(len <= 80);
        line += len + 1;
    }
    assert_true(lines <= 40);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_kafka),
        cmocka_unit_test(test_several_upstreams_need_routes),
        cmocka_unit_test(test_completed_defaults),
        cmocka_unit_test(test_printed_reads_back),
        cmocka_unit_test(test_secrets_are_masked),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_help_fits_a_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The environment: whose names do what, and about which of them something is said. */
#include "tests/unit/config_fixture.h"

#include "proxy/config/config_environment.h"
#include "proxy/config/config_option.h"

#define WARNING "warning: environment: "

static const struct sample {
    const char *variable, *lines;
    bool refused;
} samples[] = {
    /* nearest names */
    {"SW_AGENT_NAM=x", WARNING "SW_AGENT_NAM: unknown name, ignored; did you mean SW_AGENT_NAME?\n",
     false},
    {"SW_AGENT_INSTANCE=x",
     WARNING "SW_AGENT_INSTANCE: unknown name, ignored; did you mean SW_AGENT_INSTANCE_NAME?\n",
     false},
    {"SW_TRACE_IGNORE_PATH=x",
     WARNING "SW_TRACE_IGNORE_PATH: unknown name, ignored; did you mean "
             "SW_AGENT_TRACE_IGNORE_PATH?\n",
     false},
    {"SW_LOGGING_LEVEL=x",
     WARNING "SW_LOGGING_LEVEL: unknown name, ignored; did you mean SW_AGENT_LOGGING_LEVEL?\n",
     false},
    {"SW_AUTHENTICATION=x",
     WARNING "SW_AUTHENTICATION: unknown name, ignored; did you mean SW_AGENT_AUTHENTICATION?\n",
     false},
    {"SW_AGENT_DISABLE_PLUGIN=x",
     WARNING "SW_AGENT_DISABLE_PLUGIN: unknown name, ignored; did you mean "
             "SW_AGENT_DISABLE_PLUGINS?\n",
     false},
    {"SKYSTITCH_STITCH_HOLT=1s",
     WARNING "SKYSTITCH_STITCH_HOLT: unknown name, ignored; did you mean "
             "SKYSTITCH_STITCH_HOLD?\n",
     false},
    {"SKYSTITCH_LISTENS=:1",
     WARNING "SKYSTITCH_LISTENS: unknown name, ignored; did you mean SKYSTITCH_LISTEN?\n", false},
    {"SW_SOMETHING_ELSE=x", WARNING "SW_SOMETHING_ELSE: unknown name, ignored\n", false},
    {"SKYSTITCH_=x", WARNING "SKYSTITCH_: unknown name, ignored\n", false},
    /* not a word */
    {"SW_CORE_REST_PORT=1", "", false},
    {"SW_STORAGE=h2", "", false},
    {"SW_STORAGE_ES_CLUSTER_NODES=x", "", false},
    {"SW_TELEMETRY=prometheus", "", false},
    {"SW_AGENT_ANALYZER=default", "", false},
    {"SW_AGENT_DISABLE_PLUGINS=sw_django", "", false},
    {"SW_AGENT_LOG_REPORTER_LEVEL=INFO", "", false},
    {"SW_KAFKA_REPORTER_CONFIG_COMPRESSION_TYPE=lz4", "", false},
    {"SW_KAFKA_BOOTSTRAP_SERVERS=kafka:9092", "", false},
    {"SKYSTITCH_CHANNEL_DIR=/x", "", false},
    {"SKYSTITCH_SERVICE_HOST=10.0.0.1", "", false},
    {"SKYSTITCH_SERVICE_PORT=80", "", false},
    {"SKYSTITCH_SERVICE_PORT_HTTP=80", "", false},
    {"SKYSTITCH_PORT=tcp://10.0.0.1:80", "", false},
    {"SKYSTITCH_PORT_80_TCP_ADDR=10.0.0.1", "", false},
    {"SKYSTITCH_SHOP_PORT_80_TCP=x", "", false},
    {"SW_OAP2_SERVICE_HOST=10.0.0.1", "", false},
    {"SWAGENT=x", "", false},
    {"SKYSTITCHES=x", "", false},
    {"PATH=/bin", "", false},
    {"SW_AGENT_NAME=", "", false},
    {"SW_AGENT_FORCE_TLS=", "", false},
    {"SW_AGENT_FORCE_TLS=False", "", false},
    {"SW_AGENT_FORCE_TLS=True", "", false},
    {"SW_SAMPLE_N_PER_3_SECS=0", "", false},
    {"SW_SAMPLE_N_PER_3_SECS=5", "", false},
    {"SW_AGENT_COLLECTOR_BACKEND_SERVICES=oap_host:oap_port", "", false},
    /* what this version cannot do */
    {"SW_AGENT_INSTANCE_PROPERTIES_JSON={\"team\": 3}",
     "environment: SW_AGENT_INSTANCE_PROPERTIES_JSON: \"{\\\"team\\\": 3}\" is no JSON object of "
     "texts; accepted: as {\"team\": \"shop\"}\n",
     true},
    {"SW_AGENT_INSTANCE_PROPERTIES_JSON=[]",
     "environment: SW_AGENT_INSTANCE_PROPERTIES_JSON: \"[]\" is no JSON object of texts; accepted: "
     "as "
     "{\"team\": \"shop\"}\n",
     true},
    {"SW_AGENT_INSTANCE_PROPERTIES_JSON=", "", false},
    {"SW_AGENT_PROTOCOL=kafka",
     "reporter.kafka.brokers: is empty, but reporter.protocol is kafka; accepted: "
     "SW_KAFKA_BOOTSTRAP_SERVERS=kafka:9092\nwarning: agent.service: \"skystitch\" is the default; "
     "name "
     "yours by --service or SW_AGENT_NAME\n",
     true},
    /* bad values */
    {"SKYSTITCH_STITCH_HOLD=soon",
     "environment: SKYSTITCH_STITCH_HOLD: \"soon\" is no number with a unit; accepted: a time with "
     "its unit, as 250ms, 1s, 5m or 1h, 0ms to 10s\n",
     true},
    {"SKYSTITCH_STITCH_HOLD=1",
     "environment: SKYSTITCH_STITCH_HOLD: \"1\" has no unit; accepted: a time with its unit, as "
     "250ms, 1s, 5m or 1h, 0ms to 10s\n",
     true},
    {"SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=0",
     "environment: SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD: \"0s\" is too small; accepted: a time with "
     "its unit, as 250ms, 1s, 5m or 1h, 1s to 1h\n",
     true},
    {"SW_AGENT_COLLECTOR_BACKEND_SERVICES=oap",
     "environment: SW_AGENT_COLLECTOR_BACKEND_SERVICES: \"oap\" has no port; accepted: a list of "
     "host:port, as oap:11800\n",
     true},
    {"SKYSTITCH_LISTEN=nowhere",
     "environment: SKYSTITCH_LISTEN: \"nowhere\" has no port; accepted: host:port, [v6]:port, "
     ":port "
     "or unix:/path\n",
     true},
    {"SKYSTITCH_TOKEN=\x01secret",
     "environment: SKYSTITCH_TOKEN: holds a control character; accepted: a text, 0 to 4096 bytes\n",
     true},
};

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        struct reading reading;
        read_all(&reading, ARGUMENTS("--upstream", "a:1"), ARGUMENTS(samples[i].variable));
        assert_string_equal(reading.lines, samples[i].lines);
        assert_true((reading.config == NULL) == samples[i].refused);
        reading_end(&reading);
    }
}

/* Names of the Python agent keep their meaning. */
static void test_agent_names(void **state)
{
    struct reading reading;
    (void)state;
    read_all(&reading, ARGUMENTS("--upstream", "a:1"),
             ARGUMENTS("SW_AGENT_NAME=shop", "SW_AGENT_NAMESPACE=prod",
                       "SW_AGENT_INSTANCE_NAME=pod-1",
                       "SW_AGENT_COLLECTOR_BACKEND_SERVICES=oap-1:11800, oap-2:11800",
                       "SW_AGENT_AUTHENTICATION=token", "SW_AGENT_TRACE_IGNORE_PATH=/a/**,/b",
                       "SW_AGENT_IGNORE_SUFFIX=", "SW_PLUGIN_HTTP_IGNORE_METHOD=options",
                       "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=20", "SW_AGENT_QUEUE_TIMEOUT=2",
                       "SW_AGENT_COLLECTOR_PROPERTIES_REPORT_PERIOD_FACTOR=5",
                       "SW_AGENT_INSTANCE_PROPERTIES_JSON={\"team\": \"a, b\", \"stage\": \"x\"}",
                       "SW_AGENT_LOGGING_LEVEL=WARNING"));
    const struct sky_config *config = reading.config;
    assert_string_equal(reading.lines, "");
    assert_string_equal(config->agent.service, "shop|prod");
    assert_string_equal(config->agent.name, "shop");
    assert_string_equal(config->agent.instance, "pod-1");
    assert_int_equal(config->reporter.backends.count, 2);
    assert_string_equal(config->reporter.backends.items[1], "oap-2:11800");
    assert_int_equal(config->reporter.protocol, SKY_CONFIG_PROTOCOL_GRPC);
    assert_int_equal(config->local.enabled, SKY_SWITCH_OFF);
    assert_string_equal(config->reporter.authentication, "token");
    assert_int_equal(config->agent.ignore_path.count, 2);
    assert_int_equal(config->agent.ignore_suffix.count, 0);
    assert_string_equal(config->agent.ignore_method.items[0], "OPTIONS");
    assert_int_equal(config->reporter.heartbeat_ms, 20000);
    assert_int_equal(config->reporter.batch_interval_ms, 2000);
    assert_int_equal(config->reporter.properties_every, 5);
    assert_int_equal(config->log.level, SKY_LOG_WARN);
    assert_int_equal(config->agent.properties.count, 2);
    assert_string_equal(config->agent.properties.items[0], "team=a, b");
    reading_end(&reading);
}

/* Whatever the order in which they are set. */
static void test_own_name_wins(void **state)
{
    static const char *const orders[][2] = {
        {"SW_AGENT_NAME=theirs", "SKYSTITCH_AGENT_SERVICE=ours"},
        {"SKYSTITCH_AGENT_SERVICE=ours", "SW_AGENT_NAME=theirs"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct reading reading;
        read_all(&reading, ARGUMENTS("--upstream", "a:1"), ARGUMENTS(orders[i][0], orders[i][1]));
        assert_string_equal(reading.config->agent.service, "ours");
        reading_end(&reading);
    }
}

static void test_lists(void **state)
{
    struct reading reading;
    (void)state;
    read_all(&reading, NO_ARGUMENTS,
             ARGUMENTS("SKYSTITCH_LISTEN=:81, unix:/run/s", "SKYSTITCH_UPSTREAM=a:1,b:2"));
    assert_string_equal(reading.lines, "");
    assert_int_equal(reading.config->listener_count, 2);
    assert_int_equal(reading.config->upstream_count, 1);
    assert_int_equal(reading.config->upstreams[0].server_count, 2);
    assert_int_equal(reading.config->route_count, 1);
    reading_end(&reading);
}

static void test_file_name(void **state)
{
    struct reading reading;
    (void)state;
    read_all(&reading, NO_ARGUMENTS, ARGUMENTS("SKYSTITCH_CONFIG=/nonexistent/e.yaml"));
    assert_non_null(strstr(reading.lines, "/nonexistent/e.yaml: No such file or directory\n"));
    reading_end(&reading);
    read_all(&reading, ARGUMENTS("--config", "/nonexistent/c.yaml"),
             ARGUMENTS("SKYSTITCH_CONFIG=/nonexistent/e.yaml"));
    assert_null(strstr(reading.lines, "e.yaml"));
    assert_non_null(strstr(reading.lines, "/nonexistent/c.yaml: No such file"));
    reading_end(&reading);
}

/* Every option has a name here, and none looks like one of Kubernetes' or OAP's. */
static void test_each_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < sky_option_count; i++) {
        struct reading reading;
        char variable[80], entry[512], said[600];
        sky_option_variable(&sky_options[i], variable, sizeof(variable));
        snprintf(entry, sizeof(entry), "%s=\x01", variable);
        read_all(&reading, ARGUMENTS("--upstream", "a:1"), ARGUMENTS(entry));
        snprintf(said, sizeof(said), "environment: %s: ", variable);
        assert_null(reading.config);
        assert_memory_equal(reading.lines, said, strlen(said));
        reading_end(&reading);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),       cmocka_unit_test(test_agent_names),
        cmocka_unit_test(test_own_name_wins), cmocka_unit_test(test_lists),
        cmocka_unit_test(test_file_name),     cmocka_unit_test(test_each_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

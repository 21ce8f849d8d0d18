/* SPDX-License-Identifier: Apache-2.0 */
/* Each type of option: what its text means, shown as it is written again, and what is refused. */
#include "tests/unit/config_fixture.h"

#include <jansson.h>

#include "proxy/config/config_option.h"

static const struct sample {
    const char *path, *text;
    const char *written; /* JSON; NULL: refused */
    const char *line;    /* of the refusal, without the place; NULL: that of the row before */
} samples[] = {
    {"rate_limit.rate", "off", "\"off\"", NULL},
    {"rate_limit.rate", "10/s", "\"10/s\"", NULL},
    {"rate_limit.rate", "300/M", "\"300/m\"", NULL},
    {"rate_limit.rate", "1000000/h", "\"1000000/h\"", NULL},
    {"rate_limit.rate", "0/s", NULL,
     "rate_limit.rate: \"0/s\" is too small; accepted: off or a rate, as 10/s, 300/m or 1000/h"},
    {"rate_limit.rate", "1000001/s", NULL,
     "rate_limit.rate: \"1000001/s\" is too large; accepted: off or a rate, as 10/s, 300/m or "
     "1000/h"},
    {"rate_limit.rate", "10", NULL,
     "rate_limit.rate: \"10\" is no rate; accepted: off or a rate, as 10/s, 300/m or 1000/h"},
    {"rate_limit.rate", "-1/s", NULL,
     "rate_limit.rate: \"-1/s\" is no rate; accepted: off or a rate, as 10/s, 300/m or 1000/h"},
    {"limits.body", "0", "\"0B\"", NULL},
    {"limits.body", "1", "\"1B\"", NULL},
    {"limits.body", "1023B", "\"1023B\"", NULL},
    {"limits.body", "1024", "\"1KiB\"", NULL},
    {"limits.body", "64KiB", "\"64KiB\"", NULL},
    {"limits.body", "1536KiB", "\"1536KiB\"", NULL},
    {"limits.body", "16mib", "\"16MiB\"", NULL},
    {"limits.body", "1GiB", "\"1GiB\"", NULL},
    {"limits.body", "1TiB", "\"1TiB\"", NULL},
    {"limits.body", "1025GiB", NULL,
     "limits.body: \"1025GiB\" is too large; accepted: bytes, as 512B, 64KiB, 16MiB or 1GiB, 0B to "
     "1TiB"},
    {"limits.body", "99999999999999999999999", NULL,
     "limits.body: \"99999999999999999999999\" is too large; accepted: bytes, as 512B, 64KiB, "
     "16MiB "
     "or 1GiB, 0B to 1TiB"},
    {"limits.body", "99999999999999TiB", NULL,
     "limits.body: \"99999999999999TiB\" is too large; accepted: bytes, as 512B, 64KiB, 16MiB or "
     "1GiB, 0B to 1TiB"},
    {"limits.body", "", NULL,
     "limits.body: \"\" is no number with a unit; accepted: bytes, as 512B, 64KiB, 16MiB or 1GiB, "
     "0B to 1TiB"},
    {"limits.body", "much", NULL,
     "limits.body: \"much\" is no number with a unit; accepted: bytes, as 512B, 64KiB, 16MiB or "
     "1GiB, 0B to 1TiB"},
    {"limits.body", "-1", NULL,
     "limits.body: \"-1\" is no number with a unit; accepted: bytes, as 512B, 64KiB, 16MiB or "
     "1GiB, "
     "0B to 1TiB"},
    {"limits.body", "1.5GiB", NULL,
     "limits.body: \"1.5GiB\" is no number with a unit; accepted: bytes, as 512B, 64KiB, 16MiB or "
     "1GiB, 0B to 1TiB"},
    {"limits.body", "1 GiB", NULL,
     "limits.body: \"1 GiB\" is no number with a unit; accepted: bytes, as 512B, 64KiB, 16MiB or "
     "1GiB, 0B to 1TiB"},
    {"limits.header", "2047", NULL,
     "limits.header: \"2047\" is too small; accepted: bytes, as 512B, 64KiB, 16MiB or 1GiB, 2KiB "
     "to "
     "1MiB"},

    {"stitch.hold", "0", "\"0ms\"", NULL},
    {"stitch.hold", "0s", "\"0ms\"", NULL},
    {"stitch.hold", "250ms", "\"250ms\"", NULL},
    {"stitch.hold", "1000ms", "\"1s\"", NULL},
    {"stitch.hold", "1500ms", "\"1500ms\"", NULL},
    {"stitch.hold", "10S", "\"10s\"", NULL},
    {"timeouts.idle", "90s", "\"90s\"", NULL},
    {"timeouts.idle", "60m", "\"1h\"", NULL},
    {"stitch.hold", "250", NULL,
     "stitch.hold: \"250\" has no unit; accepted: a time with its unit, as 250ms, 1s, 5m or 1h, "
     "0ms "
     "to 10s"},
    {"stitch.hold", "soon", NULL,
     "stitch.hold: \"soon\" is no number with a unit; accepted: a time with its unit, as 250ms, "
     "1s, "
     "5m or 1h, 0ms to 10s"},
    {"stitch.hold", "1d", NULL,
     "stitch.hold: \"1d\" is no number with a unit; accepted: a time with its unit, as 250ms, 1s, "
     "5m or 1h, 0ms to 10s"},
    {"stitch.hold", "11s", NULL,
     "stitch.hold: \"11s\" is too large; accepted: a time with its unit, as 250ms, 1s, 5m or 1h, "
     "0ms to 10s"},
    {"timeouts.idle", "18446744073709551615h", NULL,
     "timeouts.idle: \"18446744073709551615h\" is too large; accepted: a time with its unit, as "
     "250ms, 1s, 5m or 1h, 100ms to 1h"},

    {"limits.header_fields", "90", "90", NULL},
    {"limits.header_fields", "010", "10", NULL},
    {"limits.header_fields", "91", NULL,
     "limits.header_fields: \"91\" is too large; accepted: a number, 10 to 90"},
    {"limits.header_fields", "9", NULL,
     "limits.header_fields: \"9\" is too small; accepted: a number, 10 to 90"},
    {"limits.header_fields", "x", NULL,
     "limits.header_fields: \"x\" is no number; accepted: a number, 10 to 90"},
    {"limits.header_fields", "50 ", NULL,
     "limits.header_fields: \"50 \" is no number; accepted: a number, 10 to 90"},
    {"workers", "auto", "\"auto\"", NULL},
    {"workers", "3", "3", NULL},
    {"workers", "0", NULL, "workers: \"0\" is too small; accepted: auto or a number, 1 to 1024"},

    {"log.access", "false", "\"off\"", NULL},
    {"log.access", "STDOUT", "\"stdout\"", NULL},
    {"log.access", "syslog", "\"syslog\"", NULL},
    {"log.access", "syslog:/run/log", "\"syslog:/run/log\"", NULL},
    {"log.access", "/var/log/shop.log", "\"/var/log/shop.log\"", NULL},
    {"log.access", "access.log", NULL,
     "log.access: \"access.log\" is no absolute path; accepted: off, stdout, syslog, syslog:/path "
     "or "
     "a path that begins with /"},
    {"log.access", "syslog:log", NULL,
     "log.access: \"syslog:log\" is no absolute path; accepted: off, stdout, syslog, syslog:/path "
     "or "
     "a path that begins with /"},
    {"log.format", "JSON", "\"json\"", NULL},
    {"log.format", "nginx", NULL,
     "log.format: \"nginx\" is not one of the words; accepted: common, combined, json"},
    {"agent.sampling.per_3_seconds", "5", "5", NULL},
    {"agent.sampling.per_3_seconds", "-1", "0", NULL},
    {"agent.sampling.per_3_seconds", "-", NULL,
     "agent.sampling.per_3_seconds: \"-\" is no number; accepted: a number, 0 to 1000000000"},
    {"agent.sampling.per_3_seconds", "-1x", NULL,
     "agent.sampling.per_3_seconds: \"-1x\" is no number; accepted: a number, 0 to 1000000000"},
    {"agent.sampling.rate", "1", "\"1\"", NULL},
    {"agent.sampling.rate", "1.0", "\"1\"", NULL},
    {"agent.sampling.rate", "0", "\"0\"", NULL},
    {"agent.sampling.rate", "0.1", "\"0.1\"", NULL},
    {"agent.sampling.rate", "0.250", "\"0.25\"", NULL},
    {"agent.sampling.rate", "0.000001", "\"0.000001\"", NULL},
    {"agent.sampling.rate", "0.0000001", NULL,
     "agent.sampling.rate: \"0.0000001\" has more than six decimals; accepted: a number with up to "
     "six decimals, 0 to 1"},
    {"agent.sampling.rate", "1.000001", NULL,
     "agent.sampling.rate: \"1.000001\" is too large; accepted: a number with up to six decimals, "
     "0 to 1"},
    {"agent.sampling.rate", "10", NULL,
     "agent.sampling.rate: \"10\" is too large; accepted: a number with up to six decimals, 0 to "
     "1"},
    {"agent.sampling.rate", "0.5%", NULL,
     "agent.sampling.rate: \"0.5%\" is no number; accepted: a number with up to six decimals, 0 to "
     "1"},
    {"agent.sampling.rate", ".5", NULL,
     "agent.sampling.rate: \".5\" is no number; accepted: a number with up to six decimals, 0 to "
     "1"},
    {"agent.sampling.keep_errors", "false", "\"off\"", NULL},
    {"agent.sampling.keep_errors", "Yes", "\"on\"", NULL},
    {"agent.sampling.keep_errors", "auto", NULL,
     "agent.sampling.keep_errors: \"auto\" is not one of the words; accepted: on, off"},

    {"agent.mode", "Gateway", "\"gateway\"", NULL},
    {"agent.mode", "bridge", NULL,
     "agent.mode: \"bridge\" is not one of the words; accepted: stitch, gateway"},
    {"local.enabled", "off", "\"off\"", NULL},
    {"local.enabled", "false", "\"off\"", NULL},
    {"local.enabled", "No", "\"off\"", NULL},
    {"local.enabled", "true", "\"on\"", NULL},
    {"local.enabled", "1", NULL,
     "local.enabled: \"1\" is not one of the words; accepted: auto, on, off"},
    {"log.level", "WARNING", "\"warn\"", NULL},
    {"log.level", "critical", "\"error\"", NULL},
    {"log.level", "loud", NULL,
     "log.level: \"loud\" is not one of the words; accepted: error, warn, info, debug"},
    {"reporter.protocol", "HTTP", "\"http\"", NULL},
    {"reporter.protocol", "KAFKA", "\"kafka\"", NULL},

    {"agent.service", "caf\xc3\xa9", "\"caf\xc3\xa9\"", NULL},
    {"agent.service", "", NULL, "agent.service: \"\" is empty; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "a\nb", NULL,
     "agent.service: \"a\\x0ab\" holds a control character; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "\xff", NULL,
     "agent.service: \"\xff\" is no UTF-8; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "a\xc2\xa0z", "\"a\xc2\xa0z\"", NULL},
    {"agent.service", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", NULL},
    {"agent.service", "\xc2\x9f", NULL,
     "agent.service: \"\xc2\x9f\" holds a control character; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "\xe2\x80\xa8", NULL,
     "agent.service: \"\xe2\x80\xa8\" holds a control character; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "\xef\xbb\xbf", NULL,
     "agent.service: \"\xef\xbb\xbf\" holds a control character; accepted: a text, 1 to 200 bytes"},
    {"agent.service", "\x7f", NULL,
     "agent.service: \"\\x7f\" holds a control character; accepted: a text, 1 to 200 bytes"},
    {"agent.namespace", "", "\"\"", NULL},
    {"stitch.token", "secret", "\"********\"", NULL},
    {"stitch.token", "", "\"\"", NULL},
    {"stitch.token", "********", NULL,
     "stitch.token: is the mask that --print-config shows, not the secret; accepted: a text, 0 to "
     "4096 bytes"},
    {"stitch.token", "secret\x01", NULL,
     "stitch.token: holds a control character; accepted: a text, 0 to 4096 bytes"},
    {"buffer.directory", "/var/tmp", "\"/var/tmp\"", NULL},
    {"buffer.directory", "tmp", NULL,
     "buffer.directory: \"tmp\" is no absolute path; accepted: a path that begins with /"},
    {"stitch.channel", "/run/skystitch", "\"/run/skystitch\"", NULL},
    {"stitch.channel", "AUTO", "\"auto\"", NULL},
    {"stitch.channel", "false", "\"off\"", NULL},
    {"stitch.channel", "run", NULL,
     "stitch.channel: \"run\" is no absolute path; accepted: auto, off or a directory that begins "
     "with /"},

    {"agent.ignore_path", "/health/**, /x", "[\"/health/**\", \"/x\"]", NULL},
    {"agent.ignore_path", "", "[]", NULL},
    {"agent.ignore_path", " , ,", "[]", NULL},
    {"agent.properties", "team=shop,url=a=b,empty=", "[\"team=shop\", \"url=a=b\", \"empty=\"]",
     NULL},
    {"agent.properties", "team", NULL,
     "agent.properties: \"team\" is no key=value; accepted: a list of key=value, as team=shop, 0 "
     "to "
     "32 items"},
    {"agent.properties", "=shop", NULL,
     "agent.properties: \"=shop\" is no key=value; accepted: a list of key=value, as team=shop, 0 "
     "to "
     "32 items"},
    {"agent.properties",
     "1=,2=,3=,4=,5=,6=,7=,8=,9=,10=,11=,12=,13=,14=,15=,16=,17=,18=,19=,20=,21=,22=,23=,24=,25=,"
     "26=,27=,28=,29=,30=,31=,32=,33=",
     NULL,
     "agent.properties: has too many items; accepted: a list of key=value, as team=shop, 0 to "
     "32 items"},
    {"agent.ignore_method", "options,Head", "[\"OPTIONS\", \"HEAD\"]", NULL},
    {"agent.ignore_method", "GET POST", NULL,
     "agent.ignore_method: \"GET POST\" is no name of a method; accepted: a list of methods, as "
     "OPTIONS"},
    {"reporter.backends", "oap:11800,[::1]:11800", "[\"oap:11800\", \"[::1]:11800\"]", NULL},
    {"reporter.backends", "oap:11800,oap", NULL,
     "reporter.backends: \"oap\" has no port; accepted: a list of host:port, as oap:11800"},
    {"reporter.backends", ":11800", NULL,
     "reporter.backends: \":11800\" names no host; accepted: a list of host:port, as oap:11800"},
    {"reporter.backends", "unix:/run/oap", NULL,
     "reporter.backends: \"unix:/run/oap\" names no host; accepted: a list of host:port, as "
     "oap:11800"},
    {"agent.trust_incoming", "10.0.0.0/8, unix", "\"10.0.0.0/8, unix\"", NULL},
    {"agent.trust_incoming", "friends", NULL,
     "agent.trust_incoming: \"friends\" has an entry that is no IP address or CIDR; accepted: "
     "private, always, never, or a list of CIDRs, private and unix"},
    {"admin.listen", "[::1]:9411", "\"[::1]:9411\"", NULL},
    {"admin.listen", "off", "\"off\"", NULL},
    {"admin.listen", "false", "\"off\"", NULL},
    {"admin.listen", "9411", NULL,
     "admin.listen: \"9411\" has no port; accepted: off, host:port, [v6]:port, :port or "
     "unix:/path"},
};

static void check_sample(const struct sample *sample)
{
    struct reading reading;
    char line[400] = "";
    const struct sky_option *option = sky_option_find(sample->path);
    assert_non_null(option);
    reading_begin(&reading);
    reading.config = sky_config_defaults(&reading.problems);
    json_t *before = option->type->write(option, sky_option_field(option, reading.config));
    sky_option_set_text(option, reading.config, sample->text, "here", option->path,
                        &reading.problems);
    fflush(reading.problems.out);
    json_t *after = option->type->write(option, sky_option_field(option, reading.config));
    char *written = json_dumps(after, JSON_ENCODE_ANY);
    if (sample->written != NULL) {
        assert_string_equal(reading.lines, "");
        assert_string_equal(written, sample->written);
    } else {
        snprintf(line, sizeof(line), "here: %s\n", sample->line);
        assert_string_equal(reading.lines, line);
        assert_int_equal(reading.problems.errors, 1);
        assert_true(json_equal(before, after)); /* a refused value changes nothing */
    }
    free(written);
    json_decref(before);
    json_decref(after);
    reading_end(&reading);
}

static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
        check_sample(&samples[i]);
}

/* Every default can be read, and reads the same when it was written. */
static void test_defaults(void **state)
{
    struct reading reading;
    (void)state;
    read_file_text(&reading, "", 0);
    assert_int_equal(reading.problems.errors, 0);
    for (size_t i = 0; i < sky_option_count; i++) {
        const struct sky_option *option = &sky_options[i];
        json_t *before = option->type->write(option, sky_option_field(option, reading.config));
        sky_option_set_text(option, reading.config, option->initial, "again", option->path,
                            &reading.problems);
        json_t *after = option->type->write(option, sky_option_field(option, reading.config));
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);
    }
    assert_int_equal(reading.problems.errors, 0);
    reading_end(&reading);
}

/* Without these, the table's order and names would break what is built on them. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sky_option_count; i++) {
        const struct sky_option *option = &sky_options[i];
        char text[SKY_OPTION_TEXT_BYTES];
        assert_ptr_equal(sky_option_find(option->path), option);
        assert_false(sky_option_is_section(option->path));
        sky_option_accepted(option, text, sizeof(text));
        assert_true(strlen(text) < sizeof(text) - 1);
        assert_true(option->help[strlen(option->help) - 1] == '.');
        assert_true(option->max == 0 || option->min <= option->max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Option types whose value is a number: sizes, durations, counts and enumerations. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_type.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {{"TiB", 1024ull * 1024 * 1024 * 1024},
                                         {"GiB", 1024 * 1024 * 1024},
                                         {"MiB", 1024 * 1024},
                                         {"KiB", 1024},
                                         {"B", 1},
                                         {NULL, 0}};
static const struct unit duration_units[] = {
    {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};

static const char too_small[] = "is too small";
static const char too_large[] = "is too large";

/* Reads decimal digits; *end is where they stop. False when there are none. Saturates. */
static bool read_digits(const char *text, uint64_t *number, const char **end)
{
    size_t len = strspn(text, "0123456789");
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        sum = sum > (UINT64_MAX - digit) / 10 ? UINT64_MAX : sum * 10 + digit;
    }
    *number = sum;
    *end = text + len;
    return len > 0;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++) {
        if (strcasecmp(units->name, name) == 0)
            return units;
    }
    return NULL;
}

static const char *check_limits(const struct sky_option *option, uint64_t number)
{
    if (number < option->min)
        return too_small;
    return option->max != 0 && number > option->max ? too_large : NULL;
}

/* A number with a unit; without one it counts as of `bare`, NULL: only 0 may be bare. */
static const char *read_with_unit(const struct sky_option *option, const char *text,
                                  const struct unit *units, const char *bare, uint64_t *number)
{
    const char *end;
    if (!read_digits(text, number, &end))
        return "is no number with a unit";
    if (*end == '\0' && bare == NULL && *number != 0)
        return "has no unit";
    const struct unit *unit = find_unit(units, *end != '\0' ? end : bare != NULL ? bare : "ms");
    if (unit == NULL)
        return "is no number with a unit";
    if (*number > UINT64_MAX / unit->factor)
        return too_large;
    *number *= unit->factor;
    return check_limits(option, *number);
}

static void format_with_unit(uint64_t number, const struct unit *units, char out[24])
{
    while (number % units->factor != 0 || (number == 0 && units->factor != 1))
        units++;
    snprintf(out, 24, "%" PRIu64 "%s", number / units->factor, units->name);
}

void sky_option_format_size(uint64_t bytes, char out[24])
{
    format_with_unit(bytes, size_units, out);
}

void sky_option_format_duration(uint64_t ms, char out[24])
{
    format_with_unit(ms, duration_units, out);
}

static const char *read_size(const struct sky_option *option, void *field, const char *text)
{
    uint64_t number;
    const char *problem = read_with_unit(option, text, size_units, "B", &number);
    if (problem == NULL)
        *(size_t *)field = (size_t)number;
    return problem;
}

static json_t *write_size(const struct sky_option *option, const void *field)
{
    char text[24];
    (void)option;
    sky_option_format_size(*(const size_t *)field, text);
    return json_string(text);
}

static const char *read_duration(const struct sky_option *option, void *field, const char *text)
{
    uint64_t number;
    const char *problem = read_with_unit(option, text, duration_units, NULL, &number);
    if (problem == NULL)
        *(uint32_t *)field = (uint32_t)number;
    return problem;
}

static json_t *write_duration(const struct sky_option *option, const void *field)
{
    char text[24];
    (void)option;
    sky_option_format_duration(*(const uint32_t *)field, text);
    return json_string(text);
}

static const char *read_count(const struct sky_option *option, void *field, const char *text)
{
    uint64_t number;
    const char *end;
    if (!read_digits(text, &number, &end) || *end != '\0')
        return "is no number";
    const char *problem = check_limits(option, number);
    if (problem == NULL)
        *(uint32_t *)field = (uint32_t)number;
    return problem;
}

static json_t *write_count(const struct sky_option *option, const void *field)
{
    (void)option;
    return json_integer(*(const uint32_t *)field);
}

/* Below zero is the same as zero, as the agents have it. */
static const char *read_quota(const struct sky_option *option, void *field, const char *text)
{
    uint64_t number;
    const char *end;
    if (text[0] != '-')
        return read_count(option, field, text);
    if (!read_digits(text + 1, &number, &end) || *end != '\0')
        return "is no number";
    *(uint32_t *)field = 0;
    return NULL;
}

/* 0 to 1 with up to six decimals, as a count of the last of them. */
static const char *read_rate(const struct sky_option *option, void *field, const char *text)
{
    uint64_t whole, scale = SKY_RATE_ONE, sum;
    const char *end;
    (void)option;
    if (!read_digits(text, &whole, &end))
        return "is no number";
    if (whole > 1)
        return too_large;
    sum = whole * SKY_RATE_ONE;
    if (*end == '.') {
        for (end++; *end >= '0' && *end <= '9'; end++) {
            scale /= 10;
            if (scale == 0)
                return "has more than six decimals";
            sum += (uint64_t)(*end - '0') * scale;
        }
    }
    if (*end != '\0')
        return "is no number";
    if (sum > SKY_RATE_ONE)
        return too_large;
    *(uint32_t *)field = (uint32_t)sum;
    return NULL;
}

static json_t *write_rate(const struct sky_option *option, const void *field)
{
    char text[32];
    uint32_t rate = *(const uint32_t *)field;
    (void)option;
    size_t len = (size_t)snprintf(text, sizeof(text), "%" PRIu32 ".%06" PRIu32, rate / SKY_RATE_ONE,
                                  rate % SKY_RATE_ONE);
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    return json_stringn(text, len);
}

/* 0 stands for auto until the configuration is complete. */
static const char *read_auto_count(const struct sky_option *option, void *field, const char *text)
{
    if (strcasecmp(text, "auto") != 0)
        return read_count(option, field, text);
    *(uint32_t *)field = 0;
    return NULL;
}

static json_t *write_auto_count(const struct sky_option *option, const void *field)
{
    return *(const uint32_t *)field == 0 ? json_string("auto") : write_count(option, field);
}

static const char *read_choice(const struct sky_option *option, void *field, const char *text)
{
    for (const struct sky_choice *choice = option->type->choices; choice->word != NULL; choice++) {
        if (strcasecmp(choice->word, text) == 0) {
            memcpy(field, &choice->value, sizeof(choice->value));
            return NULL;
        }
    }
    return "is not one of the words";
}

static json_t *write_choice(const struct sky_option *option, const void *field)
{
    unsigned value;
    memcpy(&value, field, sizeof(value));
    const struct sky_choice *choice = option->type->choices;
    while (choice->value != value)
        choice++;
    return json_string(choice->word);
}

static const char *read_flag(const struct sky_option *option, void *field, const char *text)
{
    unsigned value;
    const char *problem = read_choice(option, &value, text);
    if (problem == NULL)
        *(bool *)field = value != 0;
    return problem;
}

static json_t *write_flag(const struct sky_option *option, const void *field)
{
    (void)option;
    return json_string(*(const bool *)field ? "on" : "off");
}

_Static_assert(sizeof(enum sky_mode) == sizeof(unsigned), "choices are stored as unsigned");
_Static_assert(sizeof(enum sky_unknown_host) == sizeof(unsigned), "choices are stored as unsigned");
_Static_assert(sizeof(enum sky_forwarded_fields) == sizeof(unsigned),
               "choices are stored as unsigned");
_Static_assert(sizeof(enum sky_unclear) == sizeof(unsigned), "choices are stored as unsigned");
_Static_assert(sizeof(enum sky_spool_sync) == sizeof(unsigned), "choices are stored as unsigned");
_Static_assert(sizeof(enum sky_switch) == sizeof(unsigned), "choices are stored as unsigned");

static const struct sky_choice modes[] = {
    {"stitch", SKY_MODE_STITCH}, {"gateway", SKY_MODE_GATEWAY}, {NULL, 0}};
static const struct sky_choice operations[] = {
    {"folded", SKY_OPERATION_FOLDED}, {"path", SKY_OPERATION_PATH}, {NULL, 0}};
static const struct sky_choice shapes[] = {
    {"stitch", SKY_SHAPE_STITCH}, {"skywalking-python", SKY_SHAPE_AGENT}, {NULL, 0}};
static const struct sky_choice protocols[] = {
    {"auto", SKY_CONFIG_PROTOCOL_AUTO},   {"grpc", SKY_CONFIG_PROTOCOL_GRPC},
    {"http", SKY_CONFIG_PROTOCOL_HTTP},   {"kafka", SKY_CONFIG_PROTOCOL_KAFKA},
    {"local", SKY_CONFIG_PROTOCOL_LOCAL}, {NULL, 0}};
static const struct sky_choice switches[] = {{"auto", SKY_SWITCH_AUTO}, {"on", SKY_SWITCH_ON},
                                             {"off", SKY_SWITCH_OFF},   {"true", SKY_SWITCH_ON},
                                             {"false", SKY_SWITCH_OFF}, {"yes", SKY_SWITCH_ON},
                                             {"no", SKY_SWITCH_OFF},    {NULL, 0}};
static const struct sky_choice upstream_protocols[] = {
    {"http", SKY_UPSTREAM_HTTP}, {"uwsgi", SKY_UPSTREAM_UWSGI}, {NULL, 0}};
static const struct sky_choice unclears[] = {
    {"resend", SKY_UNCLEAR_RESEND}, {"drop", SKY_UNCLEAR_DROP}, {NULL, 0}};
static const struct sky_choice spool_syncs[] = {{"interval", SKY_SPOOL_SYNC_INTERVAL},
                                                {"never", SKY_SPOOL_SYNC_NEVER},
                                                {"always", SKY_SPOOL_SYNC_ALWAYS},
                                                {NULL, 0}};
static const struct sky_choice proxy_outs[] = {
    {"off", SKY_PROXY_PROTOCOL_OFF}, {"v1", SKY_PROXY_PROTOCOL_V1},
    {"v2", SKY_PROXY_PROTOCOL_V2},   {"false", SKY_PROXY_PROTOCOL_OFF},
    {"no", SKY_PROXY_PROTOCOL_OFF},  {NULL, 0}};
static const struct sky_choice balances[] = {
    {"round_robin", SKY_BALANCE_ROUND_ROBIN}, {"least_conn", SKY_BALANCE_LEAST_CONN}, {NULL, 0}};
static const struct sky_choice unknown_hosts[] = {
    {"accept", SKY_UNKNOWN_HOST_ACCEPT}, {"refuse", SKY_UNKNOWN_HOST_REFUSE}, {NULL, 0}};
static const struct sky_choice forwarded_fields[] = {{"x-forwarded", SKY_FORWARDED_X},
                                                     {"forwarded", SKY_FORWARDED_RFC7239},
                                                     {"both", SKY_FORWARDED_BOTH},
                                                     {"none", SKY_FORWARDED_NONE},
                                                     {NULL, 0}};
static const struct sky_choice flags[] = {{"on", 1},  {"off", 0}, {"true", 1}, {"false", 0},
                                          {"yes", 1}, {"no", 0},  {NULL, 0}};
static const struct sky_choice access_formats[] = {{"common", SKY_ACCESS_COMMON},
                                                   {"combined", SKY_ACCESS_COMBINED},
                                                   {"json", SKY_ACCESS_JSON},
                                                   {NULL, 0}};
/* The last four are names of Python's logging. */
static const struct sky_choice levels[] = {
    {"error", SKY_LOG_ERROR}, {"warn", SKY_LOG_WARN},    {"info", SKY_LOG_INFO},
    {"debug", SKY_LOG_DEBUG}, {"warning", SKY_LOG_WARN}, {"critical", SKY_LOG_ERROR},
    {"fatal", SKY_LOG_ERROR}, {"notset", SKY_LOG_DEBUG}, {NULL, 0}};

const struct sky_option_type sky_option_type_size = {
    .name = "size",
    .accepted = "bytes, as 512B, 64KiB, 16MiB or 1GiB",
    .read = read_size,
    .write = write_size,
};
const struct sky_option_type sky_option_type_duration = {
    .name = "duration",
    .accepted = "a time with its unit, as 250ms, 1s, 5m or 1h",
    .read = read_duration,
    .write = write_duration,
};
const struct sky_option_type sky_option_type_count = {
    .name = "number",
    .accepted = "a number",
    .read = read_count,
    .write = write_count,
};
const struct sky_option_type sky_option_type_flag = {
    .name = "word",
    .choices = flags,
    .read = read_flag,
    .write = write_flag,
};
const struct sky_option_type sky_option_type_quota = {
    .name = "number",
    .accepted = "a number",
    .read = read_quota,
    .write = write_count,
};
const struct sky_option_type sky_option_type_rate = {
    .name = "number",
    .accepted = "a number with up to six decimals",
    .read = read_rate,
    .write = write_rate,
};
const struct sky_option_type sky_option_type_auto_count = {
    .name = "auto or number",
    .accepted = "auto or a number",
    .read = read_auto_count,
    .write = write_auto_count,
};
const struct sky_option_type sky_option_type_mode = {
    .name = "word",
    .choices = modes,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_shape = {
    .name = "word",
    .choices = shapes,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_operation = {
    .name = "word",
    .choices = operations,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_protocol = {
    .name = "word",
    .choices = protocols,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_unclear = {
    .name = "word",
    .choices = unclears,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_spool_sync = {
    .name = "word",
    .choices = spool_syncs,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_unknown_host = {
    .name = "word",
    .choices = unknown_hosts,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_forwarded = {
    .name = "word",
    .choices = forwarded_fields,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_speaks = {
    .name = "word",
    .choices = upstream_protocols,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_proxy_out = {
    .name = "word",
    .choices = proxy_outs,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_balance = {
    .name = "word",
    .choices = balances,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_onoff = {
    .name = "word",
    .choices = switches,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_format = {
    .name = "word",
    .choices = access_formats,
    .read = read_choice,
    .write = write_choice,
};
const struct sky_option_type sky_option_type_level = {
    .name = "word",
    .choices = levels,
    .read = read_choice,
    .write = write_choice,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Option types whose value is text: strings, lists of them, trust and addresses. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/access/log_file.h"
#include "proxy/config/config_chars.h"
#include "proxy/config/config_option.h"
#include "proxy/config/config_type.h"
#include "proxy/exchange/error_pages.h"
#include "proxy/trace/ignore.h"

/* What --print-config shows in place of a secret. */
static const char mask[] = "********";

void sky_strings_fini(struct sky_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct sky_strings){0};
}

static bool is_off(const char *text)
{
    return strcasecmp(text, "off") == 0 || strcasecmp(text, "false") == 0 ||
           strcasecmp(text, "no") == 0;
}

static const char *replace(char **field, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return "memory is out";
    free(*field);
    *field = copy;
    return NULL;
}

static const char *read_text(const struct sky_option *option, void *field, const char *text)
{
    size_t len = strlen(text);
    if (len < option->min)
        return "is empty";
    if (option->max != 0 && len > option->max)
        return "is too long";
    const char *problem = sky_config_check_chars(text);
    return problem != NULL ? problem : replace(field, text);
}

static const char *read_secret(const struct sky_option *option, void *field, const char *text)
{
    if (strcmp(text, mask) == 0)
        return "is the mask that --print-config shows, not the secret";
    return read_text(option, field, text);
}

static const char *read_directory(const struct sky_option *option, void *field, const char *text)
{
    if (text[0] != '/')
        return "is no absolute path";
    return read_text(option, field, text);
}

static const char *read_channel(const struct sky_option *option, void *field, const char *text)
{
    if (is_off(text))
        return replace(field, "off");
    if (strcasecmp(text, "auto") == 0)
        return replace(field, "auto");
    return read_directory(option, field, text);
}

static const char *read_access(const struct sky_option *option, void *field, const char *text)
{
    static const char *const words[] = {SKY_LOG_FILE_STDOUT, SKY_LOG_FILE_SYSLOG};
    static const char prefix[] = SKY_LOG_FILE_SYSLOG ":/";
    if (is_off(text))
        return replace(field, "off");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(text, words[i]) == 0)
            return replace(field, words[i]);
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        return read_text(option, field, text);
    return read_directory(option, field, text);
}

static json_t *write_text(const struct sky_option *option, const void *field)
{
    const char *text = *(char *const *)field;
    (void)option;
    return json_string(text != NULL ? text : "");
}

static json_t *write_secret(const struct sky_option *option, const void *field)
{
    const char *text = *(char *const *)field;
    (void)option;
    return json_string(text != NULL && text[0] != '\0' ? mask : "");
}

static void fini_text(void *field)
{
    free(*(char **)field);
    *(char **)field = NULL;
}

static json_t *write_texts(const struct sky_option *option, const void *field)
{
    const struct sky_strings *strings = field;
    json_t *array = json_array();
    (void)option;
    for (size_t i = 0; array != NULL && i < strings->count; i++) {
        if (json_array_append_new(array, json_string(strings->items[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static void fini_texts(void *field)
{
    sky_strings_fini(field);
}

static const char *check_text(char *item)
{
    if (strlen(item) > SKY_IGNORE_PATTERN_MAX_BYTES)
        return "is longer than 255 bytes";
    return sky_config_check_chars(item);
}

static const char *check_property(char *item)
{
    if (strlen(item) > SKY_PROPERTY_BYTES_MAX)
        return "is longer than 200 bytes";
    if (strchr(item, '=') == NULL || item[0] == '=')
        return "is no key=value";
    return sky_config_check_chars(item);
}

static const char *check_page(char *item)
{
    return sky_error_pages_check(item);
}

/* Passwords, keys in PEM, and what SASL mechanisms are configured with. */
static bool is_secret_property(const char *item)
{
    static const char *const words[] = {"password", "secret", ".pem", "sasl.oauthbearer.config"};
    size_t len = strcspn(item, "=");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *at = strcasestr(item, words[i]);
        if (at != NULL && at < item + len)
            return true;
    }
    return false;
}

static const char *check_kafka_property(char *item)
{
    const char *equals = strchr(item, '=');
    if (equals == NULL || equals == item)
        return "is no key=value";
    if (is_secret_property(item) && strcmp(equals + 1, mask) == 0)
        return "is the mask that --print-config shows, not the secret";
    return NULL;
}

static json_t *write_kafka_properties(const struct sky_option *option, const void *field)
{
    const struct sky_strings *strings = field;
    json_t *array = json_array();
    (void)option;
    for (size_t i = 0; i < strings->count; i++) {
        const char *item = strings->items[i];
        int shown = is_secret_property(item) ? (int)strcspn(item, "=") + 1 : (int)strlen(item);
        json_array_append_new(
            array, json_sprintf("%.*s%s", shown, item, is_secret_property(item) ? mask : ""));
    }
    return array;
}

/* RFC 9110, 9.1: a method is a token; names of methods are compared as they are, and the Python
 * agent takes them in any case. */
static const char *check_method(char *item)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (char *at = item; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr(others, *at) == NULL)
            return "is no name of a method";
        *at = (char)toupper((unsigned char)*at);
    }
    return NULL;
}

static const char *check_backend(char *item)
{
    struct sky_address address;
    const char *problem = sky_address_parse(item, &address);
    if (problem == NULL && (address.host == NULL || address.host[0] == '\0'))
        problem = "names no host";
    sky_address_fini(&address);
    return problem;
}

static const char *read_trust(const struct sky_option *option, void *field, const char *text)
{
    struct sky_trust trust;
    (void)option;
    const char *problem = sky_trust_parse(text, &trust);
    if (problem != NULL)
        return problem;
    sky_trust_fini(field);
    *(struct sky_trust *)field = trust;
    return NULL;
}

static json_t *write_trust(const struct sky_option *option, const void *field)
{
    (void)option;
    return json_string(((const struct sky_trust *)field)->text);
}

static void fini_trust(void *field)
{
    sky_trust_fini(field);
}

static const char *read_admin(const struct sky_option *option, void *field, const char *text)
{
    struct sky_admin_config admin = {.enabled = !is_off(text)};
    (void)option;
    const char *problem = admin.enabled ? sky_address_parse(text, &admin.listen) : NULL;
    if (problem != NULL)
        return problem;
    sky_address_fini(&((struct sky_admin_config *)field)->listen);
    *(struct sky_admin_config *)field = admin;
    return NULL;
}

static json_t *write_admin(const struct sky_option *option, const void *field)
{
    const struct sky_admin_config *admin = field;
    (void)option;
    return json_string(admin->enabled ? admin->listen.text : "off");
}

static void fini_admin(void *field)
{
    sky_address_fini(&((struct sky_admin_config *)field)->listen);
}

const struct sky_option_type sky_option_type_text = {
    .name = "text",
    .accepted = "a text",
    .read = read_text,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_secret = {
    .name = "secret",
    .accepted = "a text",
    .secret = true,
    .read = read_secret,
    .write = write_secret,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_directory = {
    .name = "directory",
    .accepted = "a path that begins with /",
    .read = read_directory,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_channel = {
    .name = "auto, off or directory",
    .accepted = "auto, off or a directory that begins with /",
    .read = read_channel,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_access = {
    .name = "off, stdout, syslog or file",
    .accepted = "off, stdout, syslog, syslog:/path or a path that begins with /",
    .read = read_access,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_texts = {
    .name = "list of texts",
    .accepted = "a list of texts",
    .shape = SKY_OPTION_LIST,
    .check = check_text,
    .write = write_texts,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_properties = {
    .name = "list of key=value",
    .accepted = "a list of key=value, as team=shop",
    .shape = SKY_OPTION_LIST,
    .check = check_property,
    .write = write_texts,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_pages = {
    .name = "list of STATUS=FILE",
    .accepted = SKY_ERROR_PAGES_ACCEPTED,
    .shape = SKY_OPTION_LIST,
    .check = check_page,
    .write = write_texts,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_kafka_properties = {
    .name = "list of key=value",
    .accepted = "a list of key=value, as compression.type=lz4",
    .shape = SKY_OPTION_LIST,
    .secret = true,
    .check = check_kafka_property,
    .write = write_kafka_properties,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_brokers = {
    .name = "list of host:port",
    .accepted = "a list of host:port, as kafka:9092",
    .shape = SKY_OPTION_JOINED,
    .read = read_text,
    .write = write_text,
    .fini = fini_text,
};
const struct sky_option_type sky_option_type_methods = {
    .name = "list of methods",
    .accepted = "a list of methods, as OPTIONS",
    .shape = SKY_OPTION_LIST,
    .check = check_method,
    .write = write_texts,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_backends = {
    .name = "list of host:port",
    .accepted = "a list of host:port, as oap:11800",
    .shape = SKY_OPTION_LIST,
    .check = check_backend,
    .write = write_texts,
    .fini = fini_texts,
};
const struct sky_option_type sky_option_type_trust = {
    .name = "private, always, never, or list of CIDRs",
    .accepted = "private, always, never, or a list of CIDRs, private and unix",
    .shape = SKY_OPTION_JOINED,
    .read = read_trust,
    .write = write_trust,
    .fini = fini_trust,
};
const struct sky_option_type sky_option_type_admin = {
    .name = "off or address",
    .accepted = "off, host:port, [v6]:port, :port or unix:/path",
    .read = read_admin,
    .write = write_admin,
    .fini = fini_admin,
};

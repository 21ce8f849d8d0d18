/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one listener after the other, with what it says of TLS. */
#include "proxy/config/config_listen.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_chars.h"
#include "proxy/config/config_list.h"
#include "proxy/config/config_member.h"

static const char accepted_pair[] = "{certificate: FILE, key: FILE, ocsp: FILE}";
static const char accepted_tls[] =
    "{certificate: FILE, key: FILE, ocsp: FILE, certificates: [{certificate: FILE, key: FILE, "
    "ocsp: FILE}, ...], client_ca: FILE, client_auth: require or optional, hsts: VALUE}";
static const char accepted_listener[] =
    "{address: ADDR, tls: {certificate: FILE, key: FILE}, redirect_https: PORT, http2: on or off, "
    "h2c: on or off, proxy_protocol: on or off, forwarded: {trust: LIST}, trust_incoming: LIST}";

static void report(const struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                   const char *what, const char *accepted)
{
    sky_yaml_report(yaml, node,
                    (struct sky_problem){.option = option, .what = what, .accepted = accepted});
}

/* The name of a file; NULL after a report. */
static const char *read_file_name(struct sky_yaml *yaml, const yaml_node_t *node,
                                  const char *option)
{
    const char *name = sky_yaml_text(yaml, node, option, "a file");
    if (name == NULL || name[0] != '\0')
        return name;
    report(yaml, node, option, "is empty", "a file");
    return NULL;
}

static void read_ocsp(struct sky_certificate_config *certificate, struct sky_yaml *yaml,
                      const yaml_node_t *node)
{
    const char *name = read_file_name(yaml, node, "listen.tls.ocsp");
    if (name != NULL && (certificate->ocsp = strdup(name)) == NULL)
        report(yaml, node, "listen.tls.ocsp", "memory is out", NULL);
}

static void add_pair(struct sky_tls_config *tls, struct sky_yaml *yaml, const yaml_node_t *place,
                     const yaml_node_t *certificate, const yaml_node_t *key,
                     const yaml_node_t *ocsp)
{
    if (certificate == NULL || key == NULL) {
        report(yaml, place, "listen.tls",
               certificate == NULL ? "has a key without its certificate"
                                   : "has a certificate without its key",
               accepted_pair);
        return;
    }
    const char *certificate_file = read_file_name(yaml, certificate, "listen.tls.certificate");
    const char *key_file = read_file_name(yaml, key, "listen.tls.key");
    if (certificate_file == NULL || key_file == NULL)
        return;
    const char *problem = sky_config_add_certificate(tls, certificate_file, key_file);
    if (problem != NULL)
        report(yaml, place, "listen.tls", problem, NULL);
    else if (ocsp != NULL)
        read_ocsp(&tls->certificates[tls->certificate_count - 1], yaml, ocsp);
}

static void read_certificates(struct sky_tls_config *tls, struct sky_yaml *yaml,
                              const yaml_node_t *node)
{
    const yaml_node_t *item;
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++) {
        struct sky_yaml_member pair[] = {{.name = "certificate", .required = true},
                                         {.name = "key", .required = true},
                                         {.name = "ocsp"}};
        if (sky_yaml_read_members(yaml, item, "listen.tls.certificates", pair, 3, accepted_pair))
            add_pair(tls, yaml, item, pair[0].value, pair[1].value, pair[2].value);
    }
}

static void read_client_auth(struct sky_tls_config *tls, struct sky_yaml *yaml,
                             const yaml_node_t *node)
{
    static const char option[] = "listen.tls.client_auth", accepted[] = "require or optional";
    const char *text = sky_yaml_text(yaml, node, option, accepted);
    if (text == NULL)
        return;
    if (strcmp(text, "optional") == 0)
        tls->client_auth = SKY_CLIENT_AUTH_OPTIONAL;
    else if (strcmp(text, "require") != 0)
        sky_yaml_report(
            yaml, node,
            (struct sky_problem){
                .option = option, .value = text, .what = "is neither", .accepted = accepted});
    if (tls->client_ca == NULL)
        report(yaml, node, option, "is given without client_ca", accepted_tls);
}

static void read_client_ca(struct sky_tls_config *tls, struct sky_yaml *yaml,
                           const yaml_node_t *node)
{
    const char *name = read_file_name(yaml, node, "listen.tls.client_ca");
    if (name != NULL && (tls->client_ca = strdup(name)) == NULL)
        report(yaml, node, "listen.tls.client_ca", "memory is out", NULL);
}

static void read_hsts(struct sky_tls_config *tls, struct sky_yaml *yaml, const yaml_node_t *node)
{
    static const char option[] = "listen.tls.hsts",
                      accepted[] = "a field's value, as max-age=31536000; includeSubDomains";
    const char *text = sky_yaml_text(yaml, node, option, accepted);
    if (text == NULL)
        return;
    const char *what = strncmp(text, "max-age=", 8) != 0 ? "does not begin with max-age="
                                                         : sky_config_check_chars(text);
    if (what == NULL && (tls->hsts = strdup(text)) == NULL)
        what = "memory is out";
    if (what != NULL)
        sky_yaml_report(yaml, node,
                        (struct sky_problem){
                            .option = option, .value = text, .what = what, .accepted = accepted});
}

enum { CERTIFICATE, KEY, OCSP, CERTIFICATES, CLIENT_CA, CLIENT_AUTH, HSTS, TLS_MEMBERS };

static void read_tls(struct sky_tls_config *tls, struct sky_yaml *yaml, const yaml_node_t *node)
{
    struct sky_yaml_member members[TLS_MEMBERS] = {
        [CERTIFICATE] = {.name = "certificate"},
        [KEY] = {.name = "key"},
        [OCSP] = {.name = "ocsp"},
        [CERTIFICATES] = {.name = "certificates"},
        [CLIENT_CA] = {.name = "client_ca"},
        [CLIENT_AUTH] = {.name = "client_auth"},
        [HSTS] = {.name = "hsts"},
    };
    size_t errors = yaml->problems->errors;
    if (!sky_yaml_read_members(yaml, node, "listen.tls", members, TLS_MEMBERS, accepted_tls))
        return;
    if (members[CERTIFICATE].value != NULL || members[KEY].value != NULL)
        add_pair(tls, yaml, node, members[CERTIFICATE].value, members[KEY].value,
                 members[OCSP].value);
    if (members[CERTIFICATES].value != NULL)
        read_certificates(tls, yaml, members[CERTIFICATES].value);
    if (members[CLIENT_CA].value != NULL)
        read_client_ca(tls, yaml, members[CLIENT_CA].value);
    if (members[CLIENT_AUTH].value != NULL)
        read_client_auth(tls, yaml, members[CLIENT_AUTH].value);
    if (members[HSTS].value != NULL)
        read_hsts(tls, yaml, members[HSTS].value);
    if (tls->certificate_count == 0 && yaml->problems->errors == errors)
        report(yaml, node, "listen.tls", "has no certificate", accepted_tls);
}

/* `on`, or the port. */
static void read_redirect(struct sky_listener_config *listener, struct sky_yaml *yaml,
                          const yaml_node_t *node)
{
    static const char option[] = "listen.redirect_https", accepted[] = "on, off or a port";
    const char *text = sky_yaml_text(yaml, node, option, accepted);
    if (text == NULL || strcmp(text, "off") == 0 || strcmp(text, "false") == 0)
        return;
    char *end;
    bool on = strcmp(text, "on") == 0 || strcmp(text, "true") == 0;
    unsigned long port = on ? 443 : strtoul(text, &end, 10);
    bool number = on || (text[0] >= '0' && text[0] <= '9' && *end == '\0');
    const char *what = !number || port == 0 || port > UINT16_MAX ? "is no port"
                       : listener->tls.certificate_count != 0    ? "is given to a listener with tls"
                                                                 : NULL;
    if (what == NULL)
        listener->redirect_port = (uint16_t)port;
    else
        sky_yaml_report(yaml, node,
                        (struct sky_problem){
                            .option = option, .value = text, .what = what, .accepted = accepted});
}

static bool read_flag(const struct sky_yaml *yaml, const yaml_node_t *node, const char *option,
                      bool *flag)
{
    static const char accepted[] = "on or off";
    const char *text = sky_yaml_text(yaml, node, option, accepted);
    if (text == NULL)
        return false;
    *flag = strcmp(text, "on") == 0 || strcmp(text, "true") == 0;
    if (*flag || strcmp(text, "off") == 0 || strcmp(text, "false") == 0)
        return true;
    sky_yaml_report(
        yaml, node,
        (struct sky_problem){
            .option = option, .value = text, .what = "is neither", .accepted = accepted});
    return false;
}

static void read_http2(struct sky_listener_config *listener, struct sky_yaml *yaml,
                       const yaml_node_t *node)
{
    bool on;
    if (!read_flag(yaml, node, "listen.http2", &on))
        return;
    listener->tls.no_http2 = !on;
    if (listener->tls.certificate_count == 0)
        report(yaml, node, "listen.http2", "is given to a listener without tls",
               "h2c: on for HTTP/2 without it");
}

static void read_h2c(struct sky_listener_config *listener, struct sky_yaml *yaml,
                     const yaml_node_t *node)
{
    if (!read_flag(yaml, node, "listen.h2c", &listener->h2c) || !listener->h2c)
        return;
    if (listener->tls.certificate_count != 0)
        report(yaml, node, "listen.h2c", "is given to a listener with tls",
               "http2, on by itself there");
    else if (listener->redirect_port != 0)
        report(yaml, node, "listen.h2c", "is given to a listener that redirects to https", NULL);
}

static void read_forwarded(struct sky_listener_config *listener, struct sky_yaml *yaml,
                           const yaml_node_t *node)
{
    static const struct sky_option trust = {
        .path = "listen.forwarded.trust",
        .type = &sky_option_type_trust,
        .offset = offsetof(struct sky_listener_config, forwarded_trust)};
    struct sky_yaml_member member = {.name = "trust", .required = true};
    if (sky_yaml_read_members(yaml, node, "listen.forwarded", &member, 1, "{trust: LIST}"))
        sky_config_read_member(yaml, &trust, NULL, member.value, listener);
}

static void read_trust_incoming(struct sky_listener_config *listener, struct sky_yaml *yaml,
                                const yaml_node_t *node)
{
    static const struct sky_option trust = {
        .path = "listen.trust_incoming",
        .type = &sky_option_type_trust,
        .offset = offsetof(struct sky_listener_config, trust_incoming)};
    sky_config_read_member(yaml, &trust, NULL, node, listener);
}

enum {
    ADDRESS,
    TLS,
    REDIRECT,
    HTTP2,
    H2C,
    PROXY_PROTOCOL,
    FORWARDED,
    TRUST_INCOMING,
    MEMBER_COUNT
};

static void read_listener(struct sky_config *config, struct sky_yaml *yaml, const yaml_node_t *item)
{
    struct sky_yaml_member members[MEMBER_COUNT] = {
        [ADDRESS] = {.name = "address", .required = true, .value = item},
        [TLS] = {.name = "tls"},
        [REDIRECT] = {.name = "redirect_https"},
        [HTTP2] = {.name = "http2"},
        [H2C] = {.name = "h2c"},
        [PROXY_PROTOCOL] = {.name = "proxy_protocol"},
        [FORWARDED] = {.name = "forwarded"},
        [TRUST_INCOMING] = {.name = "trust_incoming"},
    };
    if (item->type == YAML_MAPPING_NODE) {
        members[ADDRESS].value = NULL;
        if (!sky_yaml_read_members(yaml, item, "listen", members, MEMBER_COUNT, accepted_listener))
            return;
    }
    const char *text = sky_yaml_text(yaml, members[ADDRESS].value, "listen", SKY_ACCEPTED_ADDRESS);
    if (text == NULL)
        return;
    const char *problem = sky_config_add_listener(config, text);
    if (problem != NULL) {
        sky_yaml_report(yaml, members[ADDRESS].value,
                        (struct sky_problem){.option = "listen",
                                             .value = text,
                                             .what = problem,
                                             .accepted = SKY_ACCEPTED_ADDRESS});
        return;
    }
    struct sky_listener_config *listener = &config->listeners[config->listener_count - 1];
    if (members[TLS].value != NULL)
        read_tls(&listener->tls, yaml, members[TLS].value);
    if (members[REDIRECT].value != NULL)
        read_redirect(listener, yaml, members[REDIRECT].value);
    if (members[HTTP2].value != NULL)
        read_http2(listener, yaml, members[HTTP2].value);
    if (members[H2C].value != NULL)
        read_h2c(listener, yaml, members[H2C].value);
    if (members[PROXY_PROTOCOL].value != NULL)
        read_flag(yaml, members[PROXY_PROTOCOL].value, "listen.proxy_protocol",
                  &listener->proxy_protocol);
    if (members[FORWARDED].value != NULL)
        read_forwarded(listener, yaml, members[FORWARDED].value);
    if (members[TRUST_INCOMING].value != NULL)
        read_trust_incoming(listener, yaml, members[TRUST_INCOMING].value);
}

void sky_config_read_listen(struct sky_config *config, struct sky_yaml *yaml,
                            const yaml_node_t *node)
{
    const yaml_node_t *item;
    sky_config_clear_listeners(config);
    for (size_t i = 0; (item = sky_yaml_item(yaml, node, i)) != NULL; i++)
        read_listener(config, yaml, item);
}

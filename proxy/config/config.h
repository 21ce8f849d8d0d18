/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as the rest of the proxy sees it: read once, then constant and shared by all
 * threads. Every scalar field has one row in proxy/config/options.def. Times in ms, sizes in bytes.
 */
#ifndef SKY_PROXY_CONFIG_CONFIG_H
#define SKY_PROXY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"
#include "proxy/config/rate_config.h"
#include "proxy/config/upstream_config.h"
#include "proxy/trust.h"
#include "reporter/log.h"
#include "reporter/spool/spool.h"

enum sky_mode { SKY_MODE_STITCH, SKY_MODE_GATEWAY };
enum sky_shape { SKY_SHAPE_STITCH, SKY_SHAPE_AGENT };
enum sky_operation { SKY_OPERATION_FOLDED, SKY_OPERATION_PATH };
enum sky_config_protocol {
    SKY_CONFIG_PROTOCOL_AUTO,
    SKY_CONFIG_PROTOCOL_GRPC,
    SKY_CONFIG_PROTOCOL_HTTP,
    SKY_CONFIG_PROTOCOL_KAFKA,
    SKY_CONFIG_PROTOCOL_LOCAL
};
enum sky_unclear { SKY_UNCLEAR_RESEND, SKY_UNCLEAR_DROP };
enum sky_unknown_host { SKY_UNKNOWN_HOST_ACCEPT, SKY_UNKNOWN_HOST_REFUSE };
enum sky_forwarded_fields {
    SKY_FORWARDED_X,
    SKY_FORWARDED_RFC7239,
    SKY_FORWARDED_BOTH,
    SKY_FORWARDED_NONE
};
enum sky_access_format { SKY_ACCESS_COMMON, SKY_ACCESS_COMBINED, SKY_ACCESS_JSON };

struct sky_strings {
    char **items; /* heap, NUL-terminated, owned */
    size_t count;
};

#define SKY_PROPERTY_BYTES_MAX 200 /* of one of agent.properties */

/* agent.sampling.rate is held in millionths. */
#define SKY_RATE_ONE 1000000

struct sky_sampling_config {
    uint32_t rate_ppm;
    uint32_t per_3_seconds; /* 0: all */
    bool keep_errors;
    uint32_t keep_slower_than_ms; /* 0: off */
};

struct sky_certificate_config {
    char *certificate, *key; /* files */
    char *ocsp;              /* the same; NULL: none */
};

enum sky_client_auth { SKY_CLIENT_AUTH_REQUIRE, SKY_CLIENT_AUTH_OPTIONAL };

struct sky_tls_config {
    struct sky_certificate_config *certificates;
    size_t certificate_count; /* 0: no TLS */
    char *client_ca;          /* file; NULL: clients are not asked for certificates */
    enum sky_client_auth client_auth;
    char *hsts; /* value of Strict-Transport-Security; NULL: none is set */
    bool no_http2;
};

struct sky_listener_config {
    struct sky_address address;
    struct sky_tls_config tls;
    bool proxy_protocol;    /* connections begin with its header */
    bool h2c;               /* HTTP/2 by prior knowledge, without TLS */
    uint16_t redirect_port; /* all requests are sent to https at this port; 0: none is */
    struct sky_trust forwarded_trust, trust_incoming; /* read: in place of the general ones */
};

struct sky_error_page;
struct sky_route_rules;

struct sky_route_config {
    char *host;                                 /* NULL: any; "*.name": all below the name */
    char *path;                                 /* prefix, begins with / */
    const struct sky_upstream_config *upstream; /* into config->upstreams; NULL: rules answer */
    struct sky_route_rules *rules;              /* NULL: a plain route; owned */
    uint32_t zone; /* of rate_limit: by host and path, so that it is the same after a reload */
};

struct sky_admin_config {
    struct sky_address listen;
    bool enabled; /* false: "off", and listen is zero */
};

struct sky_config {
    struct sky_listener_config *listeners;
    size_t listener_count;
    struct sky_upstream_config *upstreams;
    size_t upstream_count;
    struct sky_route_config *routes; /* the first that fits is the one, see config_list.h */
    size_t route_count;
    bool route_hosts;  /* a route has a host */
    bool route_bodies; /* a route has a limits.body or a request_buffering of its own */
    bool route_rates;  /* a route has a rate_limit of its own */

    struct {
        char *name;    /* of the service, as configured */
        char *service; /* the name, with |namespace appended when there is one */
        char *instance;
        char *name_space;
        struct sky_strings properties; /* of the instance: "key=value", the key not empty */
        enum sky_mode mode;
        struct sky_trust trust_incoming;
        enum sky_operation operation; /* name of a request without a route */
        enum sky_shape shape;
        uint32_t error_status;            /* entry span isError from this status on */
        struct sky_strings ignore_path;   /* Ant patterns: ? * ** */
        struct sky_strings ignore_suffix; /* ".css", ... */
        struct sky_strings ignore_method;
        bool ignore_probes;
        bool http_params;
        uint32_t http_params_length;     /* of http.params, and of http.headers */
        struct sky_strings http_headers; /* names of fields that are shown */
        struct sky_strings mask;         /* what names of secrets hold */
        struct sky_sampling_config sampling;
    } agent;
    struct {
        enum sky_config_protocol protocol; /* auto is resolved when it was loaded */
        struct sky_strings backends;
        char *authentication; /* secret */
        struct {
            enum sky_switch enabled;                    /* auto is resolved when it was loaded */
            char *ca, *certificate, *key, *server_name; /* "" for none */
        } tls;
        struct {
            char *brokers; /* with commas; "" for none */
            char *name_space, *topic_segment, *topic_management, *topic_log, *topic_meter;
            struct sky_strings properties; /* "key=value" of librdkafka, some secret */
        } kafka;
        bool gzip;
        enum sky_unclear on_unclear;
        size_t memory;
        struct {
            char *path; /* "" for none */
            size_t max;
            size_t rate; /* bytes a second; 0: no limit */
            enum sky_spool_sync sync;
        } spool;
        uint32_t batch_interval_ms;
        size_t batch_max;
        uint32_t heartbeat_ms;
        uint32_t properties_every; /* heartbeats */
        bool meters, proxy_meters, logs, events;
        uint32_t meter_interval_ms;
    } reporter;
    struct {
        enum sky_switch enabled; /* auto is resolved when it was loaded */
        size_t max;
    } local;
    struct {
        char *channel; /* "auto", "off" or a directory */
        uint32_t hold_ms;
        size_t hold_max; /* bytes of held segments, per worker */
        char *group;
        char *token; /* secret */
    } stitch;
    struct {
        struct sky_trust trust;           /* whose X-Forwarded-* are believed */
        enum sky_forwarded_fields fields; /* that the app gets */
        bool rfc7239; /* Forwarded is written; with fields of RFC7239 or BOTH in any case */
        bool port;    /* X-Forwarded-Port is, too */
    } forwarded;
    struct {
        size_t request_line;
        size_t header; /* of the whole head */
        uint32_t header_fields;
        size_t body;
        size_t body_rate;                 /* bytes a second, on average; 0: any */
        size_t answer_rate;               /* bytes a second; 0: any */
        uint32_t connections;             /* 0: auto, see connection_limit.h */
        uint32_t connections_per_address; /* 0: any number */
        uint32_t http2_streams;           /* of a connection, at a time */
        uint32_t http2_resets;            /* of a connection, within 10 s */
        size_t buffered_bodies;           /* of all requests together */
    } limits;
    struct {
        struct sky_rate_config requests; /* of one client */
        uint32_t addresses;              /* clients that are remembered */
    } rate_limit;
    struct {
        size_t memory;   /* of one request's body before it goes to a file */
        char *directory; /* of the unlinked files */
    } buffer;
    struct {
        uint32_t handshake_ms; /* of TLS */
        uint32_t header_ms;    /* from the first byte of a head to its end */
        uint32_t body_ms;      /* without a byte of the body */
        uint32_t write_ms;     /* without a byte taken by the client */
        uint32_t idle_ms;      /* between requests */
        uint32_t connect_ms;
        uint32_t response_ms; /* without a byte of the upstream */
        uint32_t upstream_idle_ms;
        uint32_t tunnel_idle_ms; /* without a byte either way of a switched connection */
        uint32_t ticket_key_ms;  /* of TLS sessions */
        uint32_t drain_delay_ms; /* after POST /drain, until the listeners close */
        uint32_t stop_ms;        /* for running requests after TERM */
        uint32_t flush_ms;       /* for the reporter after that */
    } timeouts;
    struct sky_strings error_pages; /* "502=/srv/502.html" */
    struct sky_error_page *pages;   /* what they hold; NULL: none */
    enum sky_unknown_host unknown_host;
    char *user, *group; /* empty: as started */
    char *pid_file;     /* empty: none */
    uint32_t workers;   /* resolved, >= 1 */
    bool workers_auto;  /* it was left to the machine */
    struct sky_admin_config admin;
    struct {
        enum sky_log_level level;
        char *access; /* "off", "stdout", "syslog", "syslog:/path" or a path */
        enum sky_access_format format;
        size_t access_buffer; /* bytes, per worker */
    } log;
};

/* What the command line asked for besides running. */
enum sky_config_action {
    SKY_CONFIG_RUN,
    SKY_CONFIG_CHECK,           /* --check */
    SKY_CONFIG_PRINT,           /* --print-config */
    SKY_CONFIG_PRINT_EXAMPLE,   /* --print-example */
    SKY_CONFIG_PRINT_REFERENCE, /* --print-reference */
    SKY_CONFIG_VERSION,
    SKY_CONFIG_HELP
};

/* sky_config_load: command line, then environment, then file, then defaults. Returns a heap object.
 * NULL after each problem was printed to stderr as one line (exit status 2; *action is
 * SKY_CONFIG_RUN then), and NULL after help, version or reference, which
 * need no configuration, were printed (*action says which; exit status 0). */
struct sky_config *sky_config_load(int argc, char **argv, char **environment,
                                   enum sky_config_action *action);

/* sky_config_load_again: the same sources for a process that runs by `running`. NULL when there is
 * a defect, or a change that only a new process can apply. *lines: each problem or warning as one
 * line; heap, freed by the caller, NULL when memory is out. */
struct sky_config *sky_config_load_again(int argc, char **argv, char **environment,
                                         const struct sky_config *running, char **lines);

/* sky_config_print: the effective configuration as YAML to stdout, secrets masked. */
void sky_config_print(const struct sky_config *config);

/* sky_config_json: the same as a JSON text for /api/config; heap, freed by the caller. */
char *sky_config_json(const struct sky_config *config);

void sky_config_destroy(struct sky_config *config);

#endif

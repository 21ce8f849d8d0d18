/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration says of an upstream. Every scalar field has one row in
 * proxy/config/upstream_options.def. Times in ms; texts are heap, owned, "" for none. */
#ifndef SKY_PROXY_CONFIG_UPSTREAM_CONFIG_H
#define SKY_PROXY_CONFIG_UPSTREAM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"

enum sky_upstream_protocol { SKY_UPSTREAM_HTTP, SKY_UPSTREAM_UWSGI };
enum sky_proxy_protocol { SKY_PROXY_PROTOCOL_OFF, SKY_PROXY_PROTOCOL_V1, SKY_PROXY_PROTOCOL_V2 };
enum sky_balance { SKY_BALANCE_ROUND_ROBIN, SKY_BALANCE_LEAST_CONN };
enum sky_switch { SKY_SWITCH_AUTO, SKY_SWITCH_ON, SKY_SWITCH_OFF };

struct sky_statuses {
    uint32_t min, max;
};

struct sky_server_config {
    struct sky_address address;
    uint32_t weight;          /* at least 1 */
    uint32_t max_connections; /* requests at once, of the whole process; 0: any number */
    bool backup;              /* gets requests only while no other server can */
};

struct sky_upstream_config {
    char *name;
    struct sky_server_config *servers;
    size_t server_count;
    enum sky_upstream_protocol protocol;
    enum sky_proxy_protocol proxy_protocol; /* to the servers */
    enum sky_balance balance;
    uint32_t max_fails;       /* after so many a server is passed over; 0: never */
    uint32_t fail_timeout_ms; /* for so long, and within so long they count */
    uint32_t resolve_ms;      /* for so long the addresses of a name are believed */
    struct {
        uint32_t max;
        uint32_t timeout_ms;
    } queue; /* of requests, while all servers have max_connections */
    struct {
        uint32_t tries;      /* servers that a request goes to; 0: any number */
        uint32_t timeout_ms; /* from the first one on; 0: any time */
    } retry;
    struct {
        char *path; /* "": no checks */
        char *host; /* "": that of the address */
        uint32_t interval_ms, timeout_ms;
        uint32_t rise, fall;
        struct sky_statuses status; /* of a sound answer */
    } health_check;
    struct {
        enum sky_switch enabled; /* auto: once another of these is set */
        char *ca, *server_name, *certificate, *key;
        bool verify;
    } tls;
};

#endif

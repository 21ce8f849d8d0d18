/* SPDX-License-Identifier: Apache-2.0 */
/* What a route asks for besides its upstream. Read once, then constant and shared by all threads;
 * a plain route has none of it. */
#ifndef SKY_PROXY_ROUTE_ROUTE_RULES_H
#define SKY_PROXY_ROUTE_ROUTE_RULES_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/config/config.h"
#include "proxy/trace/sampling.h"

struct json_t;
struct sky_compress_config;
struct sky_error_page;

struct sky_route_field {
    char *name;                /* as written; heap */
    h2o_iovec_t lower;         /* heap */
    const h2o_iovec_t *h2o_id; /* how libh2o knows the name: its token, or `lower` */
    char *value;               /* heap */
};

/* What is done to the fields of a head: those in `dropped` go, then those in `added` come. */
struct sky_route_fields {
    struct sky_strings dropped; /* of `remove` and `set`, in lower case */
    struct sky_route_field *added;
    size_t added_count;
    char *lines; /* `added` as it is written in HTTP/1; heap */
    size_t lines_bytes;
};

#define SKY_ROUTE_NO_LIMIT SIZE_MAX

enum {
    SKY_ROUTE_SAMPLING_RATE,
    SKY_ROUTE_SAMPLING_PER_3_SECONDS,
    SKY_ROUTE_SAMPLING_KEEP_ERRORS,
    SKY_ROUTE_SAMPLING_KEEP_SLOWER_THAN,
    SKY_ROUTE_SAMPLING_MEMBERS
};

/* In place of agent.sampling. */
struct sky_route_sampling {
    struct sky_sampling_config config;      /* whole */
    bool given[SKY_ROUTE_SAMPLING_MEMBERS]; /* by the route; the others are agent.sampling's */
    struct sky_sampling_window window; /* any thread; in use when per_3_seconds is the route's */
};

struct sky_route_rules {
    enum sky_switch traced;              /* off: never; else the rules of agent decide */
    struct sky_route_sampling *sampling; /* heap; NULL: as all routes */
    enum sky_switch strip_prefix;        /* on: the app sees the path without the route's */
    enum sky_switch request_buffering;   /* off: bodies go to the app while they come in */
    size_t body;                         /* limits.body in place of the general one, or NO_LIMIT */
    struct sky_rate_config rate;         /* in place of rate_limit when its count is not 0 */
    uint32_t response_ms;                /* timeouts.response in place of the general one, or 0 */
    char *request_host;                  /* the Host that the app gets; NULL: the client's */
    struct sky_route_fields request, response;
    struct {
        unsigned status; /* 0: the route does not answer by itself */
        char *location;  /* see route_answer.h; NULL when there is none */
        char *body;      /* NULL when there is none */
    } answer;
    struct {
        char *folder;        /* NULL: no files are served */
        char *index;         /* what a directory's path stands for; NULL: nothing */
        char *cache_control; /* NULL: no such field */
    } files;
    struct sky_error_page *error_pages;   /* before the general ones; owned */
    enum sky_switch intercept_errors;     /* on: the app's errors get these pages, too */
    struct sky_compress_config *compress; /* NULL: answers are not compressed; owned */
    struct json_t *shown;                 /* the route as --print-config shows it */
};

/* sky_route_rules_new: of a plain route; NULL when memory is out. */
struct sky_route_rules *sky_route_rules_new(void);
void sky_route_rules_destroy(struct sky_route_rules *rules);

/* sky_route_fields_drop, sky_route_fields_add: copy the texts; the name is a valid one. False when
 * memory is out. */
bool sky_route_fields_drop(struct sky_route_fields *fields, const char *name);
bool sky_route_fields_add(struct sky_route_fields *fields, const char *name, const char *value);

/* sky_route_fields_complete: after the last add; makes lines and h2o_id. */
bool sky_route_fields_complete(struct sky_route_fields *fields);

/* sky_route_drops: whether a field is dropped; its name in lower case. */
bool sky_route_drops(const struct sky_route_fields *fields, struct sky_text name);

/* sky_route_value: the value that is added under the lower-case name, the empty text when none is.
 */
struct sky_text sky_route_value(const struct sky_route_fields *fields, struct sky_text name);

/* sky_route_change_answer: drops and adds fields of req->res; before h2o_start_response. Values
 * stay the rules'. */
void sky_route_change_answer(const struct sky_route_rules *rules, h2o_req_t *req);

#endif

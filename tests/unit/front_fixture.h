/* SPDX-License-Identifier: Apache-2.0 */
/* A loop with a front, handlers of all kinds behind it, and clients that talk bytes. */
#ifndef SKY_TESTS_UNIT_FRONT_FIXTURE_H
#define SKY_TESTS_UNIT_FRONT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/http1_conn.h"
#include "proxy/site.h"
#include "reporter/log.h"

struct fixture {
    struct sky_site site;
    h2o_context_t ctx;
    struct sky_config config;
    struct sky_counters counters;
    struct sky_front *front;
    /* what the handlers saw last */
    char method[32], path[256], authority[256], fields[4096];
    char entity[65536];
    size_t entity_len;
    bool has_entity;
    int refusal;
    int64_t received_us;
    unsigned calls, stops, proceeds;
    unsigned whole, broken; /* requests disposed of, by response_end_at */
    h2o_req_t *waiting;     /* of /wait: not yet answered */
    size_t body_size;       /* of /big and /ticks */
};

extern struct fixture *fixture; /* of the test that runs; libh2o gives handlers no argument */

/* fixture_init: short timers, small limits; config may be changed before fixture_start. */
void fixture_init(struct fixture *f);
void fixture_start(struct fixture *f);
void fixture_fini(struct fixture *f);

/* One turn of the loop. */
void turn(void);

/* until: turns the loop until the condition holds; fails the test when it does not within 10 s. */
#define until(condition)                                \
    for (unsigned turns_ = 0; !(condition); turns_++) { \
        turn();                                         \
        if (turns_ > 2000)                              \
            fail_msg("never: %s", #condition);          \
    }

#define GET(path) "GET " path " HTTP/1.1\r\nHost: shop.test\r\n\r\n"

struct client {
    int fd;
    char *heard; /* NUL-terminated */
    size_t len;
    bool ended, reset;
};

/* client_open: over a socket pair; client_dial: over TCP on the loopback. */
struct client client_open(void);
struct client client_dial(void);
void client_close(struct client *client);

/* say: all of it, turning the loop while the socket is full. */
void say_bytes(struct client *client, const char *bytes, size_t len);
void say(struct client *client, const char *text);

/* listen_once: takes what is there; true when there was something. */
bool listen_once(struct client *client);

/* hear: until `text` has been heard, and then forgets everything up to its end. Date fields are
 * taken out of what is heard. */
void hear(struct client *client, const char *text);

/* hear_end: until the connection has ended. */
void hear_end(struct client *client);

#endif

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

#include "proxy/config/site.h"
#include "proxy/front/http1_conn.h"
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
    unsigned whole, broken;         /* requests disposed of, by response_end_at */
    h2o_req_t *waiting;             /* of /wait: not yet answered */
    size_t body_size;               /* of /big and /ticks */
    void (*answer)(h2o_req_t *req); /* a test's own, of /own */
};

extern struct fixture *fixture; /* of the test that runs; libh2o gives handlers no argument */

/* fixture_set_up, fixture_tear_down: what a test's own set_up and tear_down are made of. Limits are
 * small: 20 fields, 8 KiB of body in memory, 1 MiB of body in all. */
int fixture_set_up(void **state, uint32_t idle_ms, uint32_t head_ms, uint32_t body_ms,
                   uint32_t write_ms);
int fixture_tear_down(void **state);

/* A time that no test waits for. */
#define LONG_MS 60000

static inline int fixture_set_up_patient(void **state)
{
    return fixture_set_up(state, LONG_MS, LONG_MS, LONG_MS, LONG_MS);
}

static inline uint64_t counted(enum sky_counter counter)
{
    return sky_counter_read(&fixture->counters, counter);
}

static inline struct sky_conn *only_conn(void)
{
    assert_int_equal(sky_front_connection_count(fixture->front), 1);
    return H2O_STRUCT_FROM_MEMBER(struct sky_conn, link, fixture->front->conns.next);
}

static inline bool none_left(void)
{
    return sky_front_connection_count(fixture->front) == 0;
}

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

/* What the handlers answer, with Date left out. */
#define ANSWER(status, length, body) \
    "HTTP/1.1 " status " Reason\r\nX-Test: yes\r\nContent-Length: " length "\r\n\r\n" body
#define LAST_ANSWER(status, length, body)                                  \
    "HTTP/1.1 " status " Reason\r\nX-Test: yes\r\nContent-Length: " length \
    "\r\nConnection: close\r\n\r\n" body
#define HELLO ANSWER("200", "5", "hello")
#define LAST_HELLO LAST_ANSWER("200", "5", "hello")
#define REFUSED(status) LAST_ANSWER(status, "7", "refused")

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

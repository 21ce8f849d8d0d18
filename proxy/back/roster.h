/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of one upstream as the whole process sees them: what workers, the checker of the main
 * thread and /metrics have in common. Any thread, but for what says main thread.
 *
 * A server that is written by a name is as many members as the name has addresses (resolver.h); so
 * the list changes, and its version with it. A worker takes a copy of the list
 * (sky_upstream_follow) and holds each member as long as it uses it. Fields of a share have one
 * writer, its worker. */
#ifndef SKY_PROXY_BACK_ROSTER_H
#define SKY_PROXY_BACK_ROSTER_H

#include <h2o.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proxy/config/upstream_config.h"

struct addrinfo;

#define SKY_MEMBER_LABEL_BYTES 160

/* What one worker says of a server; a cache line of its own. */
struct sky_share {
    _Alignas(64) _Atomic uint32_t active; /* requests that have the server */
    _Atomic uint64_t down_until_ms;       /* passed over by passive health; 0: it is not */
};

/* One server. Counted: by the roster and by each worker that uses it. */
struct sky_member {
    const struct sky_server_config *config;
    struct sky_address address;         /* texts are the configuration's; of a name: one of its */
    char label[SKY_MEMBER_LABEL_BYTES]; /* for logs and metrics: as written, a name with the IP */
    _Atomic uint32_t taken; /* places of max_connections; 0 when there is no such limit */
    _Atomic bool unwell;    /* active checks found it down */
    _Atomic size_t references;
    size_t index; /* config is upstream->servers[index] */
    struct sky_share shares[];
};

/* One worker's part in a queue. */
struct sky_roster_worker {
    _Alignas(64) _Atomic uint32_t waiting; /* requests */
    h2o_multithread_receiver_t *receiver;  /* under the mutex; NULL: none is to be woken */
    h2o_multithread_message_t wake;        /* under the mutex until sent, then the receiver's */
    _Atomic bool woken;                    /* wake is under way */
};

/* What the resolver knows of a server that is written by a name. */
struct sky_roster_name {
    bool answered;     /* at least once, be it that there is no such name */
    uint64_t known_ms; /* loop time of the last answer that had addresses; 0: there was none */
};

struct sky_roster {
    const struct sky_upstream_config *config;
    size_t worker_count;
    SSL_CTX *tls;                /* of the servers; NULL: they are plain */
    bool limited;                /* a server has max_connections */
    bool named;                  /* a server is written by a name */
    _Atomic uint32_t unanswered; /* names of which the name service has said nothing yet */
    _Atomic uint64_t version;    /* of the list */
    _Atomic uint32_t waiting;    /* requests of all workers */
    pthread_mutex_t mutex;       /* guards what follows */
    struct sky_member **members; /* changed by the main thread */
    size_t member_count;
    struct sky_roster_name *names;     /* one per config->servers; main thread only */
    struct sky_roster_worker *workers; /* worker_count */
};

/* sky_roster_new: the servers of the configuration, which is borrowed; with a share for each
 * worker, and one for whoever else uses them. NULL when memory is out. */
struct sky_roster *sky_roster_new(const struct sky_upstream_config *config, size_t worker_count);

/* sky_roster_open_tls: reads the files of the servers' TLS, if they speak it; false after a log
 * line. Before workers use the roster. */
bool sky_roster_open_tls(struct sky_roster *roster);

/* sky_roster_destroy: when no worker uses it any more. NULL is harmless. */
void sky_roster_destroy(struct sky_roster *roster);

/* The rosters of all upstreams, in the order of the configuration. */
struct sky_fleet {
    struct sky_roster **rosters;
    size_t count;
};

/* sky_roster_copy: the present list, each member held for the caller; *version is its version. The
 * array is heap. */
struct sky_member **sky_roster_copy(struct sky_roster *roster, size_t *count, uint64_t *version);

/* sky_roster_take_answer: the name of that server has these addresses now, at loop time now_ms:
 * members of others leave the list, new ones come. None at all: the name service has failed, and
 * the list stays. Then whoever waits for the answer is woken. Main thread. True when the list has
 * changed. */
bool sky_roster_take_answer(struct sky_roster *roster, size_t server, const struct addrinfo *list,
                            uint64_t now_ms);

/* sky_roster_inherit: the addresses of names, and what checks have found out, of servers that both
 * have. Main thread, before the roster is used. */
void sky_roster_inherit(struct sky_roster *roster, const struct sky_roster *from);

/* sky_member_release: gives up one hold. NULL is harmless. */
void sky_member_release(struct sky_member *member);

/* sky_member_enter: takes a place; false when max_connections are taken. sky_member_leave: gives it
 * back. */
bool sky_member_enter(struct sky_member *member);
void sky_member_leave(struct sky_member *member);
bool sky_member_is_full(const struct sky_member *member);

/* sky_roster_listen: wakes of this worker go to the receiver; NULL ends it, from the worker itself,
 * which then takes what is on its way. */
void sky_roster_listen(struct sky_roster *roster, size_t worker,
                       h2o_multithread_receiver_t *receiver);

/* sky_roster_wake_all: each worker that has requests waiting gets a wake. */
void sky_roster_wake_all(struct sky_roster *roster);

/* sky_roster_wake: the next worker behind `worker` that has requests waiting gets a wake, so that
 * all of them have their turn. True when that is the caller itself: nothing was sent. */
bool sky_roster_wake(struct sky_roster *roster, size_t worker);

#endif

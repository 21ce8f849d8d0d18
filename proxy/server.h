/* SPDX-License-Identifier: Apache-2.0 */
/* The process: reporter, workers, admin listener, signals. Main thread only, unless said otherwise.
 */
#ifndef SKY_PROXY_SERVER_H
#define SKY_PROXY_SERVER_H

#include "proxy/back/roster.h"
#include "proxy/config/config.h"
#include "proxy/config/site.h"
#include "proxy/operation/drain.h"
#include "proxy/operation/listeners.h"
#include "proxy/operation/readiness.h"
#include "proxy/operation/reload.h"
#include "proxy/operation/upgrade.h"
#include "proxy/operation/watchdog.h"
#include "proxy/process/process_report.h"
#include "proxy/trace/sampling.h"
#include "proxy/worker.h"
#include "reporter/reporter.h"

struct sky_checks;
struct sky_resolver;

struct sky_server {
    struct sky_generation *generation; /* in force; one use */
    struct sky_generation *first; /* of the start: what reads it for good is changed by no reload */
    const struct sky_config *config; /* that in force */
    int argc;
    char **argv, **environment; /* where it came from */
    struct sky_reporter *reporter;
    struct sky_identity identity; /* the reporter's for its life */
    struct sky_processes *processes;
    struct sky_process_report process_report; /* the reporter's thread's */
    struct sky_sampling_window sampling;
    struct sky_body_budget body_budget;
    struct sky_connection_limit *connection_limit;
    struct sky_rate_limit *rate_limit; /* NULL: nothing is limited */
    struct sky_access_log *access_log; /* NULL: none */
    size_t access_lost;                /* by those that a reload replaced */
    struct sky_site site;              /* of the workers */
    struct sky_listener_set listeners;
    struct sky_checks *checks;          /* NULL before the start */
    struct sky_resolver *resolver;      /* the same */
    struct sky_readiness *readiness;    /* the same */
    struct sky_generation *checked;     /* whose fleet they ask; held */
    struct sky_counters check_counters; /* the main thread's */
    struct sky_worker **workers;
    size_t worker_count;
    int64_t began_ms; /* since 1970: the start, then the stop, for events */
    int pid_fd;       /* of pid_file; -1: none */
    bool stopping;    /* TERM has come: /readyz answers 503 */
    bool draining;    /* POST /drain has come: the same */
    struct sky_reload reload;
    struct sky_upgrade upgrade;
    struct sky_drain drain;
    struct sky_watchdog watchdog;

    /* the main thread's own loop: signals and the admin listener */
    h2o_context_t ctx;
    struct sky_site admin_site;
    struct sky_front *admin_front;
    struct sky_listener admin_listener;
    h2o_socket_t *admin_sock, *signal_sock;
    h2o_timeout_entry_t admin_pause;    /* runs while no descriptor is left */
    h2o_multithread_receiver_t replies; /* of workers that have changed */
    h2o_multithread_receiver_t finished_receiver;
    pthread_t finisher; /* joins workers and reporter while the loop goes on */
    bool finished;
};

/* sky_server_run: runs until stopped by a signal. Takes the configuration over; the rest is what it
 * was made from, for reloads, and borrowed. Returns the exit status: 0 clean stop, 1 cannot run,
 * after one line that says why. */
int sky_server_run(struct sky_config *config, int argc, char **argv, char **environment);

/* sky_server_hand_over: another process serves: this one stops. For each listener whether that has
 * its sockets. */
void sky_server_hand_over(struct sky_server *server, const bool *listeners);

/* sky_server_check: whether the files that the configuration names are sound. 0, or 2 after a line
 * for each listener that has a defect. A folder that is not there is a warning. */
int sky_server_check(const struct sky_config *config);

#endif

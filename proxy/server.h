/* SPDX-License-Identifier: Apache-2.0 */
/* The process: reporter, workers, admin listener, signals. Main thread only, unless said otherwise. */
#ifndef SKY_PROXY_SERVER_H
#define SKY_PROXY_SERVER_H

#include "proxy/config.h"
#include "proxy/worker.h"
#include "reporter/reporter.h"

struct sky_server {
    const struct sky_config *config;
    struct sky_reporter *reporter;
    struct sky_worker **workers;
    size_t worker_count;
    bool stopping; /* main thread: TERM has come; /readyz answers 503 */
};

/* sky_server_run: runs until stopped by a signal. Returns the exit status: 0 clean stop, 1 cannot
 * run, after one line that says why. */
int sky_server_run(const struct sky_config *config);

#endif

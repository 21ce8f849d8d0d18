/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a backend works, as the reporter thread last saw it; read by any thread. */
#ifndef SKY_REPORTER_STATUS_H
#define SKY_REPORTER_STATUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

struct sky_status {
    pthread_mutex_t lock;
    bool is_connected;
    char last_error[256];
};

static inline void sky_status_init(struct sky_status *status)
{
    *status = (struct sky_status){0};
    pthread_mutex_init(&status->lock, NULL);
}

static inline void sky_status_fini(struct sky_status *status)
{
    pthread_mutex_destroy(&status->lock);
}

static inline void sky_status_connected(struct sky_status *status, bool is_connected)
{
    pthread_mutex_lock(&status->lock);
    status->is_connected = is_connected;
    pthread_mutex_unlock(&status->lock);
}

static inline void sky_status_error(struct sky_status *status, const char *backend,
                                    const char *error)
{
    pthread_mutex_lock(&status->lock);
    snprintf(status->last_error, sizeof(status->last_error), "%s: %s", backend, error);
    pthread_mutex_unlock(&status->lock);
}

#endif

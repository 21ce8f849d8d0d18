/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/limit/admission.h"

#include <sys/socket.h>

#include "proxy/front/http1_front.h"
#include "proxy/limit/connection_limit.h"
#include "proxy/worker.h"
#include "reporter/log.h"

/* Another worker may take the room that an idle connection made here. */
#define TRIES 4

/* What a plain client has sent is read first: closing a socket with unread bytes is a reset, which
 * would destroy the answer. A client of TLS understands none of this. */
static void turn_away(h2o_socket_t *sock, bool plain)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                 "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Length: 22\r\n"
                                 "Retry-After: 1\r\n"
                                 "Connection: close\r\n\r\n"
                                 "Too many connections.\n";
    int fd = h2o_socket_get_fd(sock);
    char dropped[4096];

    if (plain && send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
        shutdown(fd, SHUT_WR);
        while (recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT) == sizeof(dropped))
            ;
    }
    h2o_socket_close(sock);
}

static bool enter(struct sky_worker *worker, h2o_socket_t *sock)
{
    for (int i = 0; i < TRIES; ++i) {
        if (sky_connection_limit_enter(worker->connection_limit, sock))
            return true;
        if (!sky_front_close_oldest_idle(worker->front))
            return false;
        sky_count(&worker->counters, SKY_COUNT_connections_displaced);
    }
    return false;
}

bool sky_admit_address(struct sky_worker *worker, h2o_socket_t *sock,
                       const struct sky_listener_config *listener)
{
    static struct sky_log_limit crowded;

    const struct sky_trust *trust =
        sky_trust_or(&listener->forwarded_trust, &worker->config->forwarded.trust);

    if (sky_connection_limit_enter_address(worker->connection_limit, sock, trust))
        return true;
    sky_count(&worker->counters, SKY_COUNT_connections_refused_address);
    sky_log_limited(&crowded, SKY_LOG_INFO,
                    "a client was turned away: limits.connections_per_address is reached");
    return false;
}

bool sky_admit(struct sky_worker *worker, h2o_socket_t *sock,
               const struct sky_listener_config *listener)
{
    static struct sky_log_limit full;
    bool plain = listener->tls.certificate_count == 0;

    if (!enter(worker, sock)) {
        sky_count(&worker->counters, SKY_COUNT_connections_refused_full);
        sky_log_limited(&full, SKY_LOG_WARN,
                        "a client was turned away: limits.connections is reached");
        turn_away(sock, plain);
        return false;
    }
    if (!sky_admit_address(worker, sock, listener)) {
        turn_away(sock, plain);
        return false;
    }
    return true;
}

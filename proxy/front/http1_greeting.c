/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of a load balancer begins with the PROXY protocol.
 *
 * Happy path: the peer is trusted -> its header is read, and not a byte more -> the address in it
 * is the client's from now on -> TLS, or the first request.
 * Failures: the peer is not trusted, sends something else, too little in timeouts.handshake, or
 * goes: counted by its reason, and closed. */
#include <errno.h>
#include <sys/socket.h>

#include "proxy/front/http1_conn.h"
#include "proxy/front/proxy_header.h"
#include "proxy/limit/admission.h"
#include "proxy/trust.h"
#include "reporter/log.h"

struct sky_conn_greeting {
    size_t len;
    char bytes[SKY_PROXY_HEADER_MAX];
};

static void give_up(struct sky_conn *conn, enum sky_counter counter, const char *reason)
{
    static struct sky_log_limit limit;
    char host[NI_MAXHOST];

    sky_conn_count(conn, counter);
    sky_log_limited(&limit, SKY_LOG_WARN, "PROXY header of %s: %s", sky_conn_peer(conn, host),
                    reason);
    sky_conn_close(conn);
}

static void on_timeout(h2o_timeout_entry_t *entry)
{
    give_up(H2O_STRUCT_FROM_MEMBER(struct sky_conn, timer, entry), SKY_COUNT_proxy_header_timeout,
            "timeouts.handshake");
}

static void end_greeting(struct sky_conn *conn, struct sky_proxy_header *header)
{
    bool known = header->client.ss_family != AF_UNSPEC;

    free(conn->greeting);
    conn->greeting = NULL;
    h2o_timeout_unlink(&conn->timer);
    h2o_socket_read_stop(conn->sock);
    h2o_socket_dont_read(conn->sock, 0);
    sky_conn_count(conn, known ? SKY_COUNT_proxy_header_used : SKY_COUNT_proxy_header_local);
    if (known) {
        h2o_socket_setpeername(conn->sock, (struct sockaddr *)&header->client, header->client_len);
        if (!sky_admit_address((struct sky_worker *)conn->super.ctx, conn->sock,
                               conn->door->config)) {
            sky_conn_close(conn);
            return;
        }
    }
    sky_conn_welcome(conn);
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    struct sky_conn *conn = sock->data;
    struct sky_conn_greeting *greeting = conn->greeting;
    int fd = h2o_socket_get_fd(sock);
    char *room = greeting->bytes + greeting->len;
    ssize_t got = recv(fd, room, sizeof(greeting->bytes) - greeting->len, MSG_PEEK);
    struct sky_proxy_header header;

    (void)err;
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        give_up(conn, SKY_COUNT_proxy_header_closed, "the connection was closed");
        return;
    }
    size_t len = greeting->len + (size_t)got;
    enum sky_proxy_header_result result =
        sky_proxy_header_parse(sky_text(greeting->bytes, len), &header);
    if (result == SKY_PROXY_HEADER_BAD) {
        give_up(conn, SKY_COUNT_proxy_header_malformed, "malformed");
        return;
    }
    size_t taken = result == SKY_PROXY_HEADER_WHOLE ? header.bytes - greeting->len : (size_t)got;
    if (recv(fd, room, taken, 0) != (ssize_t)taken) { /* it was there a moment ago */
        give_up(conn, SKY_COUNT_proxy_header_closed, "the connection was closed");
        return;
    }
    greeting->len += taken;
    if (result == SKY_PROXY_HEADER_WHOLE)
        end_greeting(conn, &header);
}

void sky_conn_greet(struct sky_conn *conn)
{
    struct sockaddr_storage peer = {0};

    conn->state = SKY_CONN_GREETING;
    h2o_socket_getpeername(conn->sock, (struct sockaddr *)&peer);
    if (!sky_trust_peer(sky_trust_or(&conn->door->config->forwarded_trust, conn->front->trust),
                        (struct sockaddr *)&peer)) {
        give_up(conn, SKY_COUNT_proxy_header_untrusted, "the peer is not in forwarded.trust");
        return;
    }
    conn->greeting = h2o_mem_alloc(sizeof(*conn->greeting));
    conn->greeting->len = 0;
    sky_conn_set_timer(conn, &conn->front->handshake_timeout, on_timeout);
    h2o_socket_dont_read(conn->sock, 1);
    h2o_socket_read_start(conn->sock, on_readable);
}

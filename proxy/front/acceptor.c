/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/acceptor.h"

#include <errno.h>
#include <string.h>

#include "proxy/front/http1_front.h"
#include "proxy/front/listener.h"
#include "proxy/limit/admission.h"
#include "proxy/worker.h"
#include "reporter/log.h"

/* Connections taken in one turn: the rest waits in the backlog while others are served. */
#define ACCEPTS_PER_TURN 16

struct sky_port {
    struct sky_port *next;
    struct sky_acceptor *acceptor;
    h2o_socket_t *sock;
    struct sky_door *door;
    bool shared; /* another process has the socket too */
    bool fenced; /* to be closed */
};

/* A connection waits that cannot be taken: the loop would report it again and again. */
static void pause_accepting(struct sky_acceptor *acceptor)
{
    static struct sky_log_limit limit;
    h2o_context_t *ctx = &acceptor->worker->ctx;
    sky_count(&acceptor->worker->counters, SKY_COUNT_accepts_failed);
    sky_log_limited(&limit, SKY_LOG_ERROR, "cannot accept a connection: %s%s", strerror(errno),
                    errno == EMFILE ? "; raise the limit (ulimit -n, LimitNOFILE=)" : "");
    for (struct sky_port *port = acceptor->ports; port != NULL; port = port->next)
        h2o_socket_read_stop(port->sock);
    if (!h2o_timeout_is_linked(&acceptor->pause))
        h2o_timeout_link(ctx->loop, &ctx->hundred_ms_timeout, &acceptor->pause);
}

static bool accept_one(const struct sky_port *port)
{
    struct sky_worker *worker = port->acceptor->worker;
    h2o_socket_t *sock = h2o_evloop_socket_accept(port->sock);
    if (sock == NULL) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            pause_accepting(port->acceptor);
        return false;
    }
    sky_count(&worker->counters, SKY_COUNT_connections);
    if (sky_admit(worker, sock, port->door->config))
        sky_front_accept_at(worker->front, sock, port->door);
    return true;
}

static void on_accept(h2o_socket_t *sock, const char *err)
{
    if (err != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; ++i)
        if (!accept_one(sock->data))
            break;
}

static void on_pause_over(h2o_timeout_entry_t *entry)
{
    sky_acceptor_start(H2O_STRUCT_FROM_MEMBER(struct sky_acceptor, pause, entry));
}

/* Takes the first port off the list, whose place `at` is. */
static void close_port(struct sky_port **at)
{
    struct sky_port *port = *at;
    *at = port->next;
    h2o_socket_close(port->sock);
    sky_door_release(port->door);
    free(port);
}

static void on_closer(h2o_timeout_entry_t *entry)
{
    struct sky_acceptor *acceptor = H2O_STRUCT_FROM_MEMBER(struct sky_acceptor, closer, entry);
    for (struct sky_port **at = &acceptor->ports; *at != NULL;) {
        if (!(*at)->fenced) {
            at = &(*at)->next;
            continue;
        }
        while (!(*at)->shared && accept_one(*at))
            ;
        close_port(at);
    }
    if (acceptor->ports == NULL)
        h2o_timeout_unlink(&acceptor->pause);
}

void sky_acceptor_init(struct sky_acceptor *acceptor, struct sky_worker *worker)
{
    *acceptor = (struct sky_acceptor){
        .worker = worker, .pause = {.cb = on_pause_over}, .closer = {.cb = on_closer}};
}

void sky_acceptor_add(struct sky_acceptor *acceptor, int fd, struct sky_door *door, bool shared)
{
    struct sky_port *port = h2o_mem_alloc(sizeof(*port));
    *port = (struct sky_port){.acceptor = acceptor, .door = sky_door_hold(door), .shared = shared};
    port->sock =
        h2o_evloop_socket_create(acceptor->worker->ctx.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    port->sock->data = port;
    port->next = acceptor->ports;
    acceptor->ports = port;
    if (acceptor->accepting && !h2o_timeout_is_linked(&acceptor->pause))
        h2o_socket_read_start(port->sock, on_accept);
}

void sky_acceptor_start(struct sky_acceptor *acceptor)
{
    acceptor->accepting = true;
    for (struct sky_port *port = acceptor->ports; port != NULL; port = port->next)
        h2o_socket_read_start(port->sock, on_accept);
}

static void fence(struct sky_acceptor *acceptor, struct sky_port *port)
{
    h2o_context_t *ctx = &acceptor->worker->ctx;
    port->fenced = true;
    if (!port->shared)
        sky_listener_fence(h2o_socket_get_fd(port->sock));
    if (!h2o_timeout_is_linked(&acceptor->closer))
        h2o_timeout_link(ctx->loop, &ctx->hundred_ms_timeout, &acceptor->closer);
}

void sky_acceptor_retire(struct sky_acceptor *acceptor, const struct sky_door *door)
{
    for (struct sky_port *port = acceptor->ports; port != NULL; port = port->next)
        if (port->door == door)
            fence(acceptor, port);
}

void sky_acceptor_retire_all(struct sky_acceptor *acceptor)
{
    for (struct sky_port *port = acceptor->ports; port != NULL; port = port->next)
        fence(acceptor, port);
}

void sky_acceptor_abandon(struct sky_acceptor *acceptor, const struct sky_door *door)
{
    for (struct sky_port **at = &acceptor->ports; *at != NULL;) {
        if ((*at)->door == door)
            close_port(at);
        else
            at = &(*at)->next;
    }
}

bool sky_acceptor_is_closing(const struct sky_acceptor *acceptor)
{
    for (const struct sky_port *port = acceptor->ports; port != NULL; port = port->next)
        if (port->fenced)
            return true;
    return false;
}

bool sky_acceptor_is_closed(const struct sky_acceptor *acceptor)
{
    return acceptor->ports == NULL;
}

void sky_acceptor_fini(struct sky_acceptor *acceptor)
{
    while (acceptor->ports != NULL)
        close_port(&acceptor->ports);
    h2o_timeout_unlink(&acceptor->pause);
    h2o_timeout_unlink(&acceptor->closer);
}

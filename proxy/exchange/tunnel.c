/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: readable -> one read -> one send to the other side. Nothing is copied or allocated.
 * Otherwise:
 *   the other side takes less    the rest is kept, this side not read until it is taken
 *   a side ends (FIN)            after the rest our side of the other is shut; the tunnel goes on
 *                                in the other direction until that ends, too
 *   a side is lost               what comes from it ends as above; what was for it is dropped
 *   no byte for tunnel_idle      the tunnel ends; after the app's end, for ENDING_MS */
#include "proxy/exchange/tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Read at once, and so what is kept for a side that does not take it. */
#define READ_BYTES 65536

/* How long a client may be silent, and stay, once its app has ended: as a rule nobody is left to
 * hear it. */
#define ENDING_MS 5000

/* ---- plain sockets ---- */

static ssize_t plain_receive(void *of, char *bytes, size_t size)
{
    return recv(h2o_socket_get_fd(of), bytes, size, 0);
}

static ssize_t plain_send(void *of, struct sky_text bytes)
{
    return send(h2o_socket_get_fd(of), bytes.base, bytes.len, MSG_NOSIGNAL);
}

static void plain_shut(void *of)
{
    shutdown(h2o_socket_get_fd(of), SHUT_WR);
}

const struct sky_tunnel_io sky_tunnel_plain = {plain_receive, plain_send, plain_shut};

/* ---- one direction: from an end to the other ---- */

static void on_readable(h2o_socket_t *sock, const char *err);
static void on_writable(h2o_socket_t *sock, const char *err);

static void restart_clock(struct sky_tunnel *tunnel)
{
    struct sky_tunnels *all = tunnel->all;

    h2o_timeout_unlink(&tunnel->timer);
    h2o_timeout_link(all->loop, tunnel->app.ended ? &all->ending : &all->idle, &tunnel->timer);
}

static void free_rest(struct sky_tunnel_end *from)
{
    free(from->held);
    from->held = NULL;
    from->rest = sky_text(NULL, 0);
}

/* Nothing more is taken of this end. */
static void end_input(struct sky_tunnel_end *from)
{
    struct sky_tunnel *tunnel = from->tunnel;

    if (tunnel->cause == SKY_TUNNEL_STOPPED)
        tunnel->cause = from == &tunnel->client ? SKY_TUNNEL_CLIENT : SKY_TUNNEL_APP;
    from->ended = true;
    h2o_socket_read_stop(from->sock);
    restart_clock(tunnel);
}

/* The other end is lost: what is for it can only be dropped. Who was lost is the cause. */
static void give_up(struct sky_tunnel_end *from)
{
    struct sky_tunnel *tunnel = from->tunnel;

    if (tunnel->cause == SKY_TUNNEL_STOPPED)
        tunnel->cause = from == &tunnel->client ? SKY_TUNNEL_APP : SKY_TUNNEL_CLIENT;
    free_rest(from);
    from->done = true;
    if (!from->ended)
        end_input(from);
}

/* What is left of bytes once the other end takes no more. */
static struct sky_text send_some(struct sky_tunnel_end *from, struct sky_text bytes)
{
    struct sky_tunnel_end *to = from->other;

    while (bytes.len != 0) {
        ssize_t sent = to->io->send(to->of, bytes);
        if (sent >= 0) {
            bytes = sky_text(bytes.base + sent, bytes.len - (size_t)sent);
        } else if (errno == EAGAIN) {
            if (!h2o_socket_is_writing(to->sock))
                h2o_socket_notify_write(to->sock, on_writable);
            break;
        } else if (errno != EINTR) {
            give_up(from);
            return sky_text(NULL, 0);
        }
    }
    return bytes;
}

/* Behind what is kept already. */
static void keep(struct sky_tunnel_end *from, struct sky_text bytes)
{
    if (bytes.len == 0)
        return;
    size_t size = from->rest.len + bytes.len;
    char *held = h2o_mem_alloc(size);
    if (from->rest.len != 0)
        memcpy(held, from->rest.base, from->rest.len);
    memcpy(held + from->rest.len, bytes.base, bytes.len);
    free(from->held);
    from->held = held;
    from->rest = sky_text(held, size);
}

/* Tells the other end that this was all. */
static void pass_end(struct sky_tunnel_end *from)
{
    from->done = true;
    from->other->io->shut(from->other->of);
}

static void count_bytes(struct sky_tunnel_end *from, size_t bytes)
{
    struct sky_tunnel *tunnel = from->tunnel;

    from->bytes += bytes;
    sky_count_add(tunnel->all->counters,
                  from == &tunnel->client ? SKY_COUNT_tunnel_bytes_in : SKY_COUNT_tunnel_bytes_out,
                  bytes);
}

static void receive(struct sky_tunnel_end *from)
{
    char bytes[READ_BYTES];

    if (from->ended || from->rest.len != 0)
        return;
    ssize_t got = from->io->receive(from->of, bytes, sizeof bytes);
    if (got > 0) {
        count_bytes(from, (size_t)got);
        restart_clock(from->tunnel);
        keep(from, send_some(from, sky_text(bytes, (size_t)got)));
        if (from->rest.len != 0)
            h2o_socket_read_stop(from->sock);
        return;
    }
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    end_input(from);
    pass_end(from);
    if (got == -1)
        give_up(from->other);
}

static void flush(struct sky_tunnel_end *from)
{
    if (from->rest.len == 0)
        return;
    from->rest = send_some(from, from->rest);
    if (from->rest.len != 0 || from->done)
        return;
    free_rest(from);
    h2o_socket_read_start(from->sock, on_readable);
    receive(from); /* TLS may hold bytes that give no event of the socket */
}

/* ---- both ---- */

static void end(struct sky_tunnel *tunnel)
{
    void (*on_end)(struct sky_tunnel * tunnel) = tunnel->on_end;

    tunnel->on_end = NULL; /* once */
    if (on_end != NULL)
        on_end(tunnel);
}

static void settle(struct sky_tunnel *tunnel)
{
    if (tunnel->client.done && tunnel->app.done)
        end(tunnel);
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    (void)err; /* DONT_READ: recv meets it */
    sky_tunnel_receive(sock->data);
}

static void on_writable(h2o_socket_t *sock, const char *err)
{
    struct sky_tunnel_end *from = ((struct sky_tunnel_end *)sock->data)->other;

    (void)err; /* send meets it */
    flush(from);
    settle(from->tunnel);
}

static void on_timeout(h2o_timeout_entry_t *entry)
{
    struct sky_tunnel *tunnel = H2O_STRUCT_FROM_MEMBER(struct sky_tunnel, timer, entry);

    if (tunnel->cause == SKY_TUNNEL_STOPPED)
        tunnel->cause = SKY_TUNNEL_IDLE;
    end(tunnel);
}

void sky_tunnels_init(struct sky_tunnels *tunnels, h2o_loop_t *loop, uint32_t idle_ms,
                      struct sky_counters *counters)
{
    tunnels->loop = loop;
    tunnels->counters = counters;
    atomic_init(&tunnels->open, 0);
    h2o_timeout_init(loop, &tunnels->idle, idle_ms);
    h2o_timeout_init(loop, &tunnels->ending, idle_ms < ENDING_MS ? idle_ms : ENDING_MS);
}

void sky_tunnels_change(struct sky_tunnels *tunnels, uint32_t idle_ms)
{
    tunnels->idle.timeout = idle_ms;
    tunnels->ending.timeout = idle_ms < ENDING_MS ? idle_ms : ENDING_MS;
}

void sky_tunnels_fini(struct sky_tunnels *tunnels)
{
    h2o_timeout_dispose(tunnels->loop, &tunnels->idle);
    h2o_timeout_dispose(tunnels->loop, &tunnels->ending);
}

void sky_tunnel_init(struct sky_tunnel *tunnel, struct sky_tunnels *all,
                     void (*on_end)(struct sky_tunnel *tunnel), void *owner)
{
    *tunnel = (struct sky_tunnel){
        .all = all,
        .client = {.tunnel = tunnel, .other = &tunnel->app},
        .app = {.tunnel = tunnel, .other = &tunnel->client},
        .on_end = on_end,
        .owner = owner,
        .timer = {.cb = on_timeout},
    };
}

void sky_tunnel_attach(struct sky_tunnel_end *end, h2o_socket_t *sock,
                       const struct sky_tunnel_io *io, void *of)
{
    end->sock = sock;
    end->io = io;
    end->of = of;
}

void sky_tunnel_answer(struct sky_tunnel *tunnel, struct sky_text head)
{
    keep(&tunnel->app, head);
}

void sky_tunnel_received(struct sky_tunnel_end *end, struct sky_text bytes)
{
    count_bytes(end, bytes.len);
    keep(end, bytes);
}

static void start_end(struct sky_tunnel_end *end)
{
    end->rest = send_some(end, end->rest);
    if (end->rest.len == 0 && !end->done) {
        free_rest(end);
        h2o_socket_read_start(end->sock, on_readable);
    } else {
        h2o_socket_read_stop(end->sock);
    }
}

void sky_tunnel_start(struct sky_tunnel *tunnel)
{
    sky_count(tunnel->all->counters, SKY_COUNT_tunnels);
    atomic_fetch_add_explicit(&tunnel->all->open, 1, memory_order_relaxed);
    tunnel->client.sock->data = &tunnel->client;
    tunnel->app.sock->data = &tunnel->app;
    restart_clock(tunnel);
    start_end(&tunnel->app);
    start_end(&tunnel->client);
}

void sky_tunnel_receive(struct sky_tunnel_end *end)
{
    receive(end);
    settle(end->tunnel);
}

void sky_tunnel_fini(struct sky_tunnel *tunnel)
{
    static const enum sky_counter counters[] = {
        [SKY_TUNNEL_STOPPED] = SKY_COUNT_tunnels_stopped,
        [SKY_TUNNEL_CLIENT] = SKY_COUNT_tunnels_client,
        [SKY_TUNNEL_APP] = SKY_COUNT_tunnels_app,
        [SKY_TUNNEL_IDLE] = SKY_COUNT_tunnels_idle,
    };

    h2o_timeout_unlink(&tunnel->timer);
    free_rest(&tunnel->client);
    free_rest(&tunnel->app);
    sky_count(tunnel->all->counters, counters[tunnel->cause]);
    atomic_fetch_sub_explicit(&tunnel->all->open, 1, memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* h2o's sockets read into a stream buffer and would lose the boundaries of messages. So listener
 * and connections live in an epoll set of their own, and only its descriptor is known to the loop.
 * One epoll_wait also finds out which of many connections has something, without a read of each.
 *
 * Happy path: readable set -> accept, or one recv per ready connection -> on_message.
 * Failures: message too large -> dropped whole, counted; end or error of a connection -> closed;
 * too many connections or no descriptor -> closed at once, counted; accept fails -> the listener
 * rests for a second, since the set is level-triggered. */
#include "proxy/stitch/stitch_channel.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/stitch/stitch_message.h"
#include "proxy/stitch/stitch_socket.h"
#include "reporter/log.h"

/* One per app process; see the help of stitch_connections_refused. */
#define MAX_CONNECTIONS 1024
/* Few: the kernel puts those that were served at the end of the queue, but only as many as were
 * asked for. */
#define MAX_EVENTS 8
#define MAX_ACCEPTS 64
/* Of one wake-up, so that a flood of messages cannot keep the loop from its requests: polls, and
 * bytes, since it is they that take time to parse. */
#define MAX_ROUNDS 128
#define MAX_WAKE_BYTES (128 * 1024)

struct connection {
    h2o_linklist_t link; /* of channel->connections */
    int fd;
    void *peer; /* the owner's */
    bool known; /* see sky_stitch_channel_fn */
};

struct sky_stitch_channel {
    h2o_context_t *ctx;
    struct sky_counters *counters;
    sky_stitch_channel_fn *on_message;
    sky_stitch_channel_gone_fn *on_gone;
    void *data;
    h2o_socket_t *watch; /* the epoll set, as the loop sees it; owns its descriptor */
    int epoll;
    int listener;
    h2o_timeout_entry_t rest; /* until the listener is watched again */
    h2o_linklist_t connections;
    size_t connection_count;
    size_t wake_bytes; /* of messages since the loop woke us up */
    char address[SKY_STITCH_ADDRESS_MAX_BYTES];
    char buffer[SKY_STITCH_MESSAGE_MAX_BYTES];
};

/* In the set, the listener is the event without a connection. */
static bool watch_fd(struct sky_stitch_channel *channel, int fd, struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    return epoll_ctl(channel->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void close_connection(struct sky_stitch_channel *channel, struct connection *connection)
{
    h2o_linklist_unlink(&connection->link);
    channel->connection_count--;
    if (connection->peer != NULL)
        channel->on_gone(channel->data, connection->peer);
    close(connection->fd); /* and out of the set: there is no other descriptor of it */
    free(connection);
}

static void on_rested(h2o_timeout_entry_t *entry)
{
    struct sky_stitch_channel *channel =
        H2O_STRUCT_FROM_MEMBER(struct sky_stitch_channel, rest, entry);
    if (!watch_fd(channel, channel->listener, NULL))
        h2o_timeout_link(channel->ctx->loop, &channel->ctx->one_sec_timeout, &channel->rest);
}

static void rest_listener(struct sky_stitch_channel *channel)
{
    static struct sky_log_limit limit;
    sky_log_limited(&limit, SKY_LOG_WARN, "stitch.channel: cannot accept on %s: %s",
                    channel->address, strerror(errno));
    sky_count(channel->counters, SKY_COUNT_stitch_connections_refused);
    epoll_ctl(channel->epoll, EPOLL_CTL_DEL, channel->listener, NULL);
    h2o_timeout_link(channel->ctx->loop, &channel->ctx->one_sec_timeout, &channel->rest);
}

/* Anybody on the machine can reach an abstract name. For a request's part nothing depends on who it
 * is: a stranger would have to know the id of an open segment. Segments of the app's own are taken
 * from known ones alone. The owner of the machine may want to know of others, once. */
static bool is_known(const struct sky_stitch_channel *channel, int fd)
{
    static atomic_flag noted = ATOMIC_FLAG_INIT;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == geteuid() || peer.uid == 0)
        return true;
    if (!atomic_flag_test_and_set(&noted))
        sky_log(SKY_LOG_INFO,
                "stitch.channel: process %d of user %u connects; the proxy runs as user %u",
                (int)peer.pid, (unsigned)peer.uid, (unsigned)geteuid());
    return channel->address[0] != '@';
}

static void add_connection(struct sky_stitch_channel *channel, int fd)
{
    struct connection *connection = NULL;
    if (channel->connection_count < MAX_CONNECTIONS)
        connection = malloc(sizeof(*connection));
    if (connection == NULL || !watch_fd(channel, fd, connection)) {
        sky_count(channel->counters, SKY_COUNT_stitch_connections_refused);
        free(connection);
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->peer = NULL;
    connection->link = (h2o_linklist_t){NULL, NULL};
    h2o_linklist_insert(&channel->connections, &connection->link);
    channel->connection_count++;
    sky_count(channel->counters, SKY_COUNT_stitch_connections);
    connection->known = is_known(channel, fd);
}

static void accept_connections(struct sky_stitch_channel *channel)
{
    for (size_t i = 0; i < MAX_ACCEPTS; i++) {
        int fd = accept4(channel->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd != -1) {
            add_connection(channel, fd);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno != EAGAIN)
            rest_listener(channel);
        return;
    }
}

static void read_message(struct sky_stitch_channel *channel, struct connection *connection)
{
    /* With MSG_TRUNC the result is the message's own length. */
    ssize_t len =
        recv(connection->fd, channel->buffer, sizeof(channel->buffer), MSG_DONTWAIT | MSG_TRUNC);
    if (len == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        close_connection(channel, connection);
        return;
    }
    if ((size_t)len > sizeof(channel->buffer)) {
        sky_count(channel->counters, SKY_COUNT_stitch_message_oversize);
        return;
    }
    channel->wake_bytes += (size_t)len;
    channel->on_message(channel->data, &connection->peer, sky_text(channel->buffer, (size_t)len),
                        connection->known);
}

bool sky_stitch_channel_poll(struct sky_stitch_channel *channel)
{
    struct epoll_event events[MAX_EVENTS];
    int count = epoll_wait(channel->epoll, events, MAX_EVENTS, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            accept_connections(channel);
        else
            read_message(channel, events[i].data.ptr);
    }
    return count > 0;
}

static void on_readable(h2o_socket_t *watch, const char *error)
{
    struct sky_stitch_channel *channel = watch->data;
    (void)error; /* the socket is never read, so it cannot fail */
    channel->wake_bytes = 0;
    for (size_t i = 0; i < MAX_ROUNDS && channel->wake_bytes < MAX_WAKE_BYTES; i++)
        if (!sky_stitch_channel_poll(channel))
            break;
}

static bool start(struct sky_stitch_channel *channel)
{
    channel->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (channel->epoll == -1)
        return false;
    channel->watch =
        h2o_evloop_socket_create(channel->ctx->loop, channel->epoll, H2O_SOCKET_FLAG_DONT_READ);
    channel->watch->data = channel;
    h2o_socket_read_start(channel->watch, on_readable);
    return watch_fd(channel, channel->listener, NULL);
}

struct sky_stitch_channel *sky_stitch_channel_new(h2o_context_t *ctx, const char *directory,
                                                  const char *group, size_t worker_index,
                                                  struct sky_counters *counters,
                                                  sky_stitch_channel_fn *on_message,
                                                  sky_stitch_channel_gone_fn *on_gone, void *data)
{
    struct sky_stitch_channel *channel = h2o_mem_alloc(sizeof(*channel));
    channel->listener = sky_stitch_socket_listen(directory, group, worker_index, channel->address);
    if (channel->listener == -1) {
        free(channel);
        return NULL;
    }
    channel->ctx = ctx;
    channel->counters = counters;
    channel->on_message = on_message;
    channel->on_gone = on_gone;
    channel->data = data;
    channel->watch = NULL;
    channel->rest = (h2o_timeout_entry_t){.cb = on_rested};
    h2o_linklist_init_anchor(&channel->connections);
    channel->connection_count = 0;
    channel->wake_bytes = 0;
    if (start(channel))
        return channel;
    sky_log(SKY_LOG_ERROR, "stitch.channel: no epoll set for %s: %s", channel->address,
            strerror(errno));
    sky_stitch_channel_destroy(channel);
    return NULL;
}

struct sky_text sky_stitch_channel_address(const struct sky_stitch_channel *channel)
{
    return sky_text_of(channel->address);
}

void sky_stitch_channel_destroy(struct sky_stitch_channel *channel)
{
    if (channel == NULL)
        return;
    h2o_timeout_unlink(&channel->rest);
    while (!h2o_linklist_is_empty(&channel->connections))
        close_connection(
            channel, H2O_STRUCT_FROM_MEMBER(struct connection, link, channel->connections.next));
    if (channel->address[0] != '@')
        unlink(channel->address);
    close(channel->listener);
    if (channel->watch != NULL)
        h2o_socket_close(channel->watch);
    free(channel);
}

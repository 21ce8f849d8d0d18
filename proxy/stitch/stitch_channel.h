/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's channel: a listening Unix socket of type SOCK_SEQPACKET and the connections of the
 * helpers to it. Loop thread only, but for new, which any thread may call before the loop runs. */
#ifndef SKY_PROXY_STITCH_STITCH_CHANNEL_H
#define SKY_PROXY_STITCH_STITCH_CHANNEL_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/counters.h"

struct sky_stitch_channel;

/* Called for each message that came whole; the bytes are gone after it returns. It must not call
 * into the channel. *peer is the callee's own, one a connection, NULL before the first message.
 * known: the sender may speak for itself, since it has our user, or root, or could open a socket
 * file that others cannot. */
typedef void sky_stitch_channel_fn(void *data, void **peer, struct sky_text message, bool known);

/* Called when a connection whose peer is not NULL is closed. */
typedef void sky_stitch_channel_gone_fn(void *data, void *peer);

/* sky_stitch_channel_new: opens the channel in a directory, or with an abstract name when directory
 * is NULL. group: name of the group that a socket file is given to, "" for none. NULL after one log
 * line when it cannot be had. */
struct sky_stitch_channel *sky_stitch_channel_new(h2o_context_t *ctx, const char *directory,
                                                  const char *group, size_t worker_index,
                                                  struct sky_counters *counters,
                                                  sky_stitch_channel_fn *on_message,
                                                  sky_stitch_channel_gone_fn *on_gone, void *data);

/* sky_stitch_channel_address: "@name" or "/path"; valid as long as the channel. */
struct sky_text sky_stitch_channel_address(const struct sky_stitch_channel *channel);

/* sky_stitch_channel_poll: without waiting, takes what the kernel has: at most one message of each
 * connection. Returns false when there was nothing to do. The loop calls it by itself when
 * something comes. */
bool sky_stitch_channel_poll(struct sky_stitch_channel *channel);

/* sky_stitch_channel_destroy: closes the connections and removes the socket file. NULL is fine. */
void sky_stitch_channel_destroy(struct sky_stitch_channel *channel);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Connecting to a server of an upstream, TCP or unix, without ever blocking the loop. */
#ifndef SKY_PROXY_BACK_DIAL_H
#define SKY_PROXY_BACK_DIAL_H

#include <h2o.h>

#include "propagation/text.h"
#include "proxy/back/upstream.h"
#include "proxy/exchange/failure.h"

struct sky_dial;

/* Called once unless the dial is cancelled: with a connection, which is the callee's then, or with
 * NULL and the reason. The dial is not touched any more. */
typedef void sky_dial_done_fn(struct sky_dial *dial, struct sky_upstream_conn *conn,
                              enum sky_failure failure);

/* Embedded in who dials; zeroed before its first use. Fields are dial.c's own. */
struct sky_dial {
    sky_dial_done_fn *done;
    struct sky_upstream_server *server;
    struct sky_text
        preface; /* of who dials: first bytes of a connection, before TLS; empty: none */
    h2o_timeout_entry_t deadline;
    h2o_linklist_t waiting; /* of the server's backlogged */
    bool backlogged;
    h2o_socket_t *sock; /* connecting, or shaking hands */
    SSL *ssl;           /* of the handshake; NULL: none */
    size_t first;       /* address to be tried */
    unsigned tried;     /* bits of addresses */
    size_t address;     /* under way */
    int error;          /* of the last address that failed */
};

/* sky_dial_start: `done` may be called before this returns. */
void sky_dial_start(struct sky_dial *dial, struct sky_upstream_server *server,
                    sky_dial_done_fn *done);

/* sky_dial_cancel: nothing is called any more; harmless when nothing is under way. */
void sky_dial_cancel(struct sky_dial *dial);

/* For upstream.c: the dialling part of a server. No dial may be under way at fini. */
void sky_dial_init_server(struct sky_upstream_server *server);
void sky_dial_fini_server(struct sky_upstream_server *server);

#endif

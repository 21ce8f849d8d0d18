/* SPDX-License-Identifier: Apache-2.0 */
/* From a request that switches protocols to a tunnel that has its connection's socket. */
#include <assert.h>

#include "proxy/exchange/tunnel.h"
#include "proxy/front/http1_conn.h"

struct sky_text sky_front_upgrade(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);

    return conn != NULL ? conn->upgrade : sky_text(NULL, 0);
}

static ssize_t tunnel_receive(void *conn, char *bytes, size_t size)
{
    return ((struct sky_conn *)conn)->io->receive(conn, bytes, size);
}

static ssize_t tunnel_send(void *conn, struct sky_text bytes)
{
    h2o_iovec_t piece = h2o_iovec_init(bytes.base, bytes.len);

    return ((struct sky_conn *)conn)->io->send(conn, &piece, 1, false);
}

static void tunnel_shut(void *conn)
{
    ((struct sky_conn *)conn)->io->shut(conn);
}

bool sky_front_switch(h2o_req_t *req, struct sky_text protocol, struct sky_tunnel *tunnel)
{
    static const struct sky_tunnel_io io = {tunnel_receive, tunnel_send, tunnel_shut};
    struct sky_conn *conn = sky_conn_of(req);

    /* Interim answers that the client does not take are not worth a queue of their own. */
    if (conn == NULL || conn->state != SKY_CONN_RUNNING || conn->dispatching ||
        conn->response.head_made || h2o_socket_is_writing(conn->sock))
        return false;
    h2o_iovec_t head = sky_conn_switch_head(conn, protocol);
    h2o_buffer_t *input = conn->sock->input;
    h2o_timeout_unlink(&conn->timer);
    h2o_timeout_unlink(&conn->stream_timer);
    h2o_timeout_unlink(&conn->settler);
    conn->response.head_made = true;
    conn->state = SKY_CONN_TUNNEL;
    conn->tunnel = tunnel;
    sky_tunnel_attach(&tunnel->client, conn->sock, &io, conn);
    sky_tunnel_answer(tunnel, sky_text(head.base, head.len));
    sky_tunnel_received(&tunnel->client, sky_text(input->bytes, input->size));
    h2o_buffer_consume(&conn->sock->input, input->size);
    if (conn->ssl != NULL)
        sky_conn_read_rest_soon(conn);
    return true;
}

void sky_front_end_tunnel(h2o_req_t *req)
{
    struct sky_conn *conn = sky_conn_of(req);

    assert(conn->state == SKY_CONN_TUNNEL);
    sky_conn_close(conn);
}

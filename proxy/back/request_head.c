/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/request_head.h"

#include <netinet/in.h>
#include <stdio.h>

#include "proxy/back/uwsgi.h"
#include "proxy/peer_text.h"

/* Written as HTTP first: so both protocols pass the same fields on. */
static struct sky_text make_packet(const struct sky_forward *forward, struct sky_text head)
{
    h2o_req_t *req = (h2o_req_t *)(uintptr_t)forward->req; /* for its pool alone */
    char ip[SKY_PEER_TEXT_BYTES], remote_port[8], server_port[8];
    struct sockaddr_storage peer = {0}, local = {0};
    bool https = req->scheme == &H2O_URL_SCHEME_HTTPS;
    int32_t port;

    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&peer);
    req->conn->callbacks->get_sockname(req->conn, (struct sockaddr *)&local);
    struct sky_uwsgi uwsgi = {.remote_addr = sky_peer_ip(&peer, ip), .https = https};
    if ((port = h2o_socket_getport((struct sockaddr *)&peer)) != -1)
        uwsgi.remote_port = sky_text(
            remote_port, (size_t)snprintf(remote_port, sizeof(remote_port), "%" PRId32, port));
    if ((port = h2o_socket_getport((struct sockaddr *)&local)) == -1)
        port = https ? 443 : 80; /* a unix socket; WSGI wants one (PEP 3333) */
    uwsgi.server_port =
        sky_text(server_port, (size_t)snprintf(server_port, sizeof(server_port), "%" PRId32, port));
    char *packet = h2o_mem_alloc_pool(&req->pool, sky_uwsgi_bound(&uwsgi, head.len));
    return sky_text(packet, sky_uwsgi_write(&uwsgi, head, packet));
}

struct sky_text sky_request_head(const struct sky_forward *forward,
                                 const struct sky_upstream_config *upstream,
                                 char stack[SKY_REQUEST_HEAD_STACK_BYTES])
{
    h2o_req_t *req = (h2o_req_t *)(uintptr_t)forward->req; /* for its pool alone */
    size_t bound = sky_forward_bound(forward);
    char *dst =
        bound <= SKY_REQUEST_HEAD_STACK_BYTES ? stack : h2o_mem_alloc_pool(&req->pool, bound);
    struct sky_text head = sky_text(dst, sky_forward_write(forward, dst));

    return upstream->protocol == SKY_UPSTREAM_UWSGI ? make_packet(forward, head) : head;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/admin/admin_listener.h"

#include <errno.h>

#include "proxy/admin/admin.h"
#include "proxy/back/resolver.h"
#include "proxy/front/http1_front.h"
#include "reporter/log.h"

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct sky_server *server = listener->data;
    if (err != NULL)
        return;
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
    if (sock != NULL) {
        sky_front_accept(server->admin_front, sock);
    } else if (errno == EMFILE || errno == ENFILE) {
        /* the listener would wake the loop until there is one */
        static struct sky_log_limit limit;
        sky_log_limited(&limit, SKY_LOG_ERROR,
                        "admin page: cannot accept a connection: no file descriptors left; raise "
                        "the limit (ulimit -n, LimitNOFILE=)");
        h2o_socket_read_stop(listener);
        h2o_timeout_link(server->ctx.loop, &server->ctx.hundred_ms_timeout, &server->admin_pause);
    }
}

static void on_pause_over(h2o_timeout_entry_t *entry)
{
    struct sky_server *server = H2O_STRUCT_FROM_MEMBER(struct sky_server, admin_pause, entry);
    h2o_socket_read_start(server->admin_sock, on_accept);
}

int sky_admin_listener_open(struct sky_server *server)
{
    sky_site_init(&server->admin_site);
    sky_admin_register(server->admin_site.path, server);
    h2o_context_init(&server->ctx, h2o_evloop_create(), &server->admin_site.globalconf);
    server->admin_front =
        sky_front_new(&server->ctx, server->admin_site.globalconf.hosts, server->config, NULL);
    if (!server->config->admin.enabled)
        return 0;
    char error[256];
    if (sky_listener_open(&server->admin_listener, &server->config->admin.listen, 1, false, error,
                          sizeof(error)) != 0) {
        sky_log(SKY_LOG_ERROR, "admin.listen: %s; --set admin.listen=off runs without it", error);
        return -1;
    }
    server->admin_sock = h2o_evloop_socket_create(server->ctx.loop, server->admin_listener.fds[0],
                                                  H2O_SOCKET_FLAG_DONT_READ);
    server->admin_listener.taken = true;
    server->admin_sock->data = server;
    server->admin_pause.cb = on_pause_over;
    h2o_socket_read_start(server->admin_sock, on_accept);
    return 0;
}

void sky_admin_listener_leave(struct sky_server *server)
{
    h2o_timeout_unlink(&server->admin_pause);
    if (server->admin_sock != NULL)
        h2o_socket_close(server->admin_sock);
    server->admin_sock = NULL;
    server->admin_listener.has_file = false; /* it is the new process's */
}

void sky_admin_listener_close(struct sky_server *server)
{
    h2o_timeout_unlink(&server->admin_pause);
    if (server->admin_sock != NULL)
        h2o_socket_close(server->admin_sock);
    sky_listener_close(&server->admin_listener);
    sky_front_destroy(server->admin_front);
    h2o_loop_t *loop = server->ctx.loop;
    sky_resolver_end(loop);
    h2o_context_dispose(&server->ctx);
    h2o_evloop_destroy(loop);
    sky_site_fini(&server->admin_site);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Happy path: a pair of sockets is the line between both processes -> the new one is spawned with
 * its end of it, all listening sockets and a pipe with the keys of TLS tickets, named in
 * SKYSTITCH_UPGRADE -> it reads its configuration, finds its addresses among the sockets, serves,
 * and says "ready" with the descriptors it uses -> those are closed here without more ado, others
 * are emptied as at any stop, and this process drains. A hangup in between is carried out by who is
 * there afterwards.
 *
 * Failures: it cannot be spawned; it ends before it is ready (its own lines in the log say why); it
 * takes longer than the patience: it is killed. This process goes on each time. */
#include "proxy/operation/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/front/inherited.h"
#include "proxy/front/tickets.h"
#include "proxy/operation/notify.h"
#include "proxy/server.h"
#include "reporter/log.h"

#define PATIENCE_MS 60000

static void close_line(struct sky_server *server)
{
    struct sky_upgrade *upgrade = &server->upgrade;
    h2o_socket_close(upgrade->line);
    upgrade->line = NULL;
    h2o_timeout_unlink(&upgrade->deadline);
    h2o_timeout_dispose(server->ctx.loop, &upgrade->patience);
}

static void fail(struct sky_server *server, const char *why)
{
    int status = 0;
    kill(server->upgrade.pid, SIGKILL); /* if it is not dead yet */
    waitpid(server->upgrade.pid, &status, 0);
    if (WIFEXITED(status))
        sky_log(SKY_LOG_ERROR, "upgrade: process %d %s, with status %d; this one goes on",
                (int)server->upgrade.pid, why, WEXITSTATUS(status));
    else
        sky_log(SKY_LOG_ERROR, "upgrade: process %d %s; this one goes on", (int)server->upgrade.pid,
                why);
    close_line(server);
    sky_reload_resume(server);
}

static void on_deadline(h2o_timeout_entry_t *entry)
{
    fail(H2O_STRUCT_FROM_MEMBER(struct sky_server, upgrade.deadline, entry),
         "was not ready within a minute");
}

/* Whether "5,7,9," names all descriptors of the listener. */
static bool names_all(const char *taken, const struct sky_listener *listener)
{
    for (size_t i = 0; i < listener->fd_count; ++i) {
        char wanted[16];
        bool found = false;
        int len = snprintf(wanted, sizeof(wanted), "%d,", listener->fds[i]);
        for (const char *at = taken; at != NULL && !found; at = strchr(at, ',')) {
            at += *at == ',';
            found = strncmp(at, wanted, (size_t)len) == 0;
        }
        if (!found)
            return false;
    }
    return true;
}

static void succeed(struct sky_server *server, const char *taken)
{
    size_t count = server->listeners.count;
    bool *handed_over = h2o_mem_alloc((count + 1) * sizeof(*handed_over));
    for (size_t i = 0; i < count; ++i)
        handed_over[i] = names_all(taken, &server->listeners.items[i]);
    sky_log(SKY_LOG_INFO, "upgrade: process %d serves; this one finishes what it has",
            (int)server->upgrade.pid);
    sky_notify("MAINPID=%d", (int)server->upgrade.pid);
    close_line(server);
    if (server->reload.again) /* it may have read its configuration before */
        kill(server->upgrade.pid, SIGHUP);
    sky_server_hand_over(server, handed_over);
    free(handed_over);
}

static void on_said(h2o_socket_t *sock, const char *err)
{
    static const char ready[] = "ready ";
    struct sky_server *server = sock->data;
    h2o_buffer_t *said = sock->input;
    if (err != NULL) {
        fail(server, "ended before it was ready");
        return;
    }
    if (said->size < sizeof(ready) || said->bytes[said->size - 1] != '\n')
        return;
    said->bytes[said->size - 1] = '\0';
    succeed(server, said->bytes + sizeof(ready) - 1);
}

/* "NAME=line:fd,fds,..." and the environment with it; heap, in one piece with its texts after it.
 */
static char **make_environment(const struct sky_server *server, char *variable)
{
    size_t count = 0;
    while (server->environment[count] != NULL)
        count++;
    char **made = h2o_mem_alloc((count + 2) * sizeof(*made));
    memcpy(made, server->environment, count * sizeof(*made));
    made[count] = variable;
    made[count + 1] = NULL;
    return made;
}

static void name_sockets(const struct sky_listener *listener, char *separator, FILE *out,
                         posix_spawn_file_actions_t *actions)
{
    for (size_t i = 0; i < listener->fd_count; ++i) {
        fprintf(out, "%c%d%s", *separator, listener->fds[i], listener->shared ? "s" : "");
        *separator = ',';
        /* to itself: takes close-on-exec off */
        posix_spawn_file_actions_adddup2(actions, listener->fds[i], listener->fds[i]);
    }
}

static int spawn(struct sky_server *server, int line, int tickets)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    char *variable = NULL, separator = ':';
    size_t size;
    FILE *out = open_memstream(&variable, &size);
    if (out == NULL)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, line, line);
    fprintf(out, SKY_INHERITED_VARIABLE "=%d", line);
    for (size_t i = 0; i < server->listeners.count; ++i)
        name_sockets(&server->listeners.items[i], &separator, out, &actions);
    name_sockets(&server->admin_listener, &separator, out, &actions);
    if (tickets != -1) {
        fprintf(out, ";%d", tickets);
        posix_spawn_file_actions_adddup2(&actions, tickets, tickets);
    }
    fclose(out);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none); /* ours are blocked, for signalfd */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    char **environment = make_environment(server, variable);
    int rc = posix_spawnp(&server->upgrade.pid, server->argv[0], &actions, &attributes,
                          server->argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    free(variable);
    return rc;
}

/* The new process, and our end of the line to it. Returns 0 or an errno. */
static int start(struct sky_server *server, int *line)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return errno;
    int tickets = sky_tickets_hand_over();
    int rc = spawn(server, pair[1], tickets);
    if (tickets != -1)
        close(tickets);
    close(pair[1]);
    if (rc != 0)
        close(pair[0]);
    *line = pair[0];
    return rc;
}

/* NULL when nothing is against it. */
static const char *obstacle(const struct sky_server *server)
{
    if (getpid() == 1)
        return "the container would end with this process, which is number 1: start another "
               "container instead";
    if (server->stopping)
        return "this process stops";
    if (server->draining)
        return "this process drains";
    return server->upgrade.line != NULL ? "another one is under way" : NULL;
}

void sky_upgrade_begin(struct sky_server *server)
{
    struct sky_upgrade *upgrade = &server->upgrade;
    const char *why = obstacle(server);
    int line = -1;
    if (why == NULL && server->reload.pending != 0) {
        upgrade->due = true;
        sky_log(SKY_LOG_INFO, "upgrade: follows the reload under way");
        return;
    }
    if (why != NULL) {
        sky_log(SKY_LOG_ERROR, "upgrade: refused: %s", why);
        return;
    }
    int rc = start(server, &line);
    if (rc != 0) {
        sky_log(SKY_LOG_ERROR, "upgrade: %s cannot be started: %s", server->argv[0], strerror(rc));
        return;
    }
    sky_log(SKY_LOG_INFO, "upgrade: process %d starts as %s", (int)upgrade->pid, server->argv[0]);
    upgrade->line = h2o_evloop_socket_create(server->ctx.loop, line, 0);
    upgrade->line->data = server;
    h2o_socket_read_start(upgrade->line, on_said);
    h2o_timeout_init(server->ctx.loop, &upgrade->patience, PATIENCE_MS);
    upgrade->deadline = (h2o_timeout_entry_t){.cb = on_deadline};
    h2o_timeout_link(server->ctx.loop, &upgrade->patience, &upgrade->deadline);
}

void sky_upgrade_resume(struct sky_server *server)
{
    if (!server->upgrade.due || server->stopping)
        return;
    server->upgrade.due = false;
    sky_upgrade_begin(server);
}

void sky_upgrade_cancel(struct sky_server *server)
{
    if (server->upgrade.line == NULL)
        return;
    kill(server->upgrade.pid, SIGTERM);
    close_line(server);
}

void sky_upgrade_report(void)
{
    int line = sky_inherited_line();
    char *taken = sky_inherited_taken();
    sky_inherited_leave_rest();
    if (line != -1 && taken != NULL) {
        FILE *out = fdopen(line, "w");
        if (out != NULL) {
            fprintf(out, "ready %s\n", taken);
            fclose(out);
        }
    }
    free(taken);
}

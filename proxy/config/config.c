/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the configuration: defaults, then the file, the environment and the command line over them,
 * then what only the whole tells. Every defect is reported, not only the first. */
#include "proxy/config/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config/config_change.h"
#include "proxy/config/config_command.h"
#include "proxy/config/config_environment.h"
#include "proxy/config/config_file.h"
#include "proxy/config/config_list.h"
#include "proxy/config/config_option.h"
#include "proxy/config/config_print.h"
#include "proxy/config/config_problem.h"
#include "proxy/config/config_read.h"
#include "proxy/config/config_reporter.h"
#include "proxy/config/config_route_sampling.h"
#include "proxy/config/config_workers.h"
#include "proxy/exchange/error_pages.h"

static void complain(struct sky_problems *problems, const char *option, const char *what,
                     const char *accepted)
{
    sky_problem_report(problems,
                       &(struct sky_problem){.option = option, .what = what, .accepted = accepted});
}

static bool replace(char **field, char *text, struct sky_problems *problems)
{
    if (text == NULL) {
        complain(problems, NULL, "memory is out", NULL);
        return false;
    }
    free(*field);
    *field = text;
    return true;
}

static void complete_identity(struct sky_config *config, struct sky_problems *problems)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (config->agent.instance[0] == '\0') {
        gethostname(host, sizeof(host) - 1);
        replace(&config->agent.instance, strdup(host[0] != '\0' ? host : "localhost"), problems);
    }
    char *service;
    if (asprintf(&service, "%s%s%s", config->agent.name,
                 config->agent.name_space[0] != '\0' ? "|" : "", config->agent.name_space) < 0)
        service = NULL;
    replace(&config->agent.service, service, problems);
}

/* The kernel would say of both that another process listens there. */
static void check_listeners(const struct sky_config *config, struct sky_problems *problems)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct sky_address *address = &config->listeners[i].address;
        bool doubled =
            config->admin.enabled && (strcmp(address->text, config->admin.listen.text) == 0 ||
                                      sky_address_overlaps(address, &config->admin.listen));
        for (size_t k = 0; k < i; k++)
            doubled |= sky_address_overlaps(address, &config->listeners[k].address);
        if (doubled)
            sky_problem_report(problems,
                               &(struct sky_problem){.option = "listen",
                                                     .value = address->text,
                                                     .what = "is listened on twice: by another of "
                                                             "listen, or by admin.listen",
                                                     .accepted = "one for all addresses, or ports "
                                                                 "that differ"});
    }
}

static void complete_lists(struct sky_config *config, struct sky_problems *problems)
{
    if (config->listener_count == 0) {
        const char *problem = sky_config_add_listener(config, ":8080");
        if (problem != NULL)
            complain(problems, "listen", problem, NULL);
    }
    if (config->upstream_count == 0 && config->route_count == 0) {
        complain(problems, "upstreams", "none is given",
                 "where the app listens, as --upstream 127.0.0.1:8000 or --upstream "
                 "unix:/run/app.sock");
    } else if (config->route_count == 0 && config->upstream_count > 1) {
        complain(problems, "routes", "none is given, and there is more than one upstream",
                 "routes: [{path: /, upstream: NAME}, ...]");
    } else if (config->route_count == 0) {
        struct sky_route_config *route;
        const char *problem = sky_config_add_route(config, NULL, "/", &route);
        if (problem == NULL)
            route->upstream = &config->upstreams[0];
        else
            complain(problems, "routes", problem, NULL);
    }
    check_listeners(config, problems);
    if (config->unknown_host == SKY_UNKNOWN_HOST_REFUSE && !config->route_hosts)
        complain(problems, "unknown_host", "is refuse, but no route has a host",
                 "routes: [{host: example.org, path: /, upstream: NAME}, ...]");
}

static void complete_shape(struct sky_config *config, struct sky_problems *problems)
{
    bool agents = config->agent.shape == SKY_SHAPE_AGENT;
    if (agents && config->agent.mode == SKY_MODE_GATEWAY)
        complain(problems, "agent.shape", "is skywalking-python, but agent.mode is gateway",
                 "agent.mode: stitch; with gateway the app's own agent gives its spans their form");
    if (agents)
        config->agent.operation = SKY_OPERATION_PATH;
    if (config->agent.error_status == 0)
        config->agent.error_status = agents ? 400 : 500;
}

static void complete_forwarded(struct sky_config *config, struct sky_problems *problems)
{
    enum sky_forwarded_fields fields = config->forwarded.fields;
    static const char accepted[] = "forwarded.fields: x-forwarded or both";
    if (fields == SKY_FORWARDED_NONE && config->forwarded.rfc7239)
        complain(problems, "forwarded.rfc7239", "is on, but forwarded.fields is none", accepted);
    if (config->forwarded.port && (fields == SKY_FORWARDED_NONE || fields == SKY_FORWARDED_RFC7239))
        complain(problems, "forwarded.port", "is on, but forwarded.fields leaves X-Forwarded out",
                 accepted);
    if (fields == SKY_FORWARDED_RFC7239 || fields == SKY_FORWARDED_BOTH)
        config->forwarded.rfc7239 = true;
}

static void complete(struct sky_config *config, struct sky_problems *problems)
{
    complete_identity(config, problems);
    complete_forwarded(config, problems);
    complete_shape(config, problems);
    sky_config_complete_reporter(config, problems);
    sky_config_complete_sampling(config);
    complete_lists(config, problems);
    for (size_t i = 0; i < config->error_pages.count; i++) {
        const char *problem = sky_error_pages_add(&config->pages, config->error_pages.items[i]);
        if (problem != NULL)
            sky_problem_report(problems,
                               &(struct sky_problem){.option = "error_pages",
                                                     .value = config->error_pages.items[i],
                                                     .what = problem,
                                                     .accepted = SKY_ERROR_PAGES_ACCEPTED});
    }
    config->workers_auto = config->workers == 0;
    if (config->workers_auto)
        config->workers = sky_workers_auto();
}

struct sky_config *sky_config_defaults(struct sky_problems *problems)
{
    struct sky_config *config = calloc(1, sizeof(*config));
    for (size_t i = 0; config != NULL && i < sky_option_count; i++)
        sky_option_set_text(&sky_options[i], config, sky_options[i].initial, "default",
                            sky_options[i].path, problems);
    return config;
}

struct sky_config *sky_config_read(const struct sky_command *command, char *const *environment,
                                   struct sky_problems *problems)
{
    struct sky_config *config = sky_config_defaults(problems);
    if (config == NULL) {
        complain(problems, NULL, "memory is out", NULL);
        return NULL;
    }
    const char *file = command->file;
    if (file == NULL && environment != NULL)
        file = sky_environment_get(environment, "SKYSTITCH_CONFIG");
    if (file != NULL)
        sky_config_file_load(config, file, problems);
    if (environment != NULL)
        sky_environment_apply(config, environment, problems);
    sky_command_apply(command, config, problems);
    if (problems->errors == 0)
        complete(config, problems);
    if (problems->errors == 0)
        return config;
    sky_config_destroy(config);
    return NULL;
}

/* What is the same whatever the configuration. */
static void print_about(enum sky_config_action action)
{
    if (action == SKY_CONFIG_HELP)
        sky_command_help(stdout);
    else if (action == SKY_CONFIG_VERSION)
        puts("skystitch " SKY_VERSION);
    else if (action == SKY_CONFIG_PRINT_EXAMPLE)
        sky_config_write_example(stdout);
    else if (action == SKY_CONFIG_PRINT_REFERENCE)
        sky_config_write_reference(stdout);
}

static bool needs_configuration(enum sky_config_action action)
{
    return action == SKY_CONFIG_RUN || action == SKY_CONFIG_CHECK || action == SKY_CONFIG_PRINT;
}

struct sky_config *sky_config_load(int argc, char **argv, char **environment,
                                   enum sky_config_action *action)
{
    struct sky_problems problems = {.out = stderr};
    struct sky_command command;
    struct sky_config *config = NULL;
    *action = SKY_CONFIG_RUN;
    sky_command_read(&command, argc, argv, &problems);
    if (needs_configuration(command.action))
        config = sky_config_read(&command, environment, &problems);
    if (problems.errors == 0) {
        *action = command.action;
        print_about(command.action);
    }
    sky_command_fini(&command);
    return config;
}

static struct sky_config *read_again(int argc, char **argv, char **environment,
                                     const struct sky_config *running,
                                     struct sky_problems *problems)
{
    struct sky_command command;
    sky_command_read(&command, argc, argv, problems);
    struct sky_config *config = sky_config_read(&command, environment, problems);
    sky_command_fini(&command);
    if (config == NULL)
        return NULL;
    if (config->workers_auto && running->workers_auto) /* the machine may have changed */
        config->workers = running->workers;
    sky_config_check_restart(running, config, problems);
    if (problems->errors == 0)
        return config;
    sky_config_destroy(config);
    return NULL;
}

struct sky_config *sky_config_load_again(int argc, char **argv, char **environment,
                                         const struct sky_config *running, char **lines)
{
    size_t size;
    *lines = NULL;
    struct sky_problems problems = {.out = open_memstream(lines, &size)};
    if (problems.out == NULL)
        return NULL;
    struct sky_config *config = read_again(argc, argv, environment, running, &problems);
    fclose(problems.out);
    return config;
}

void sky_config_destroy(struct sky_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < sky_option_count; i++) {
        if (sky_options[i].type->fini != NULL)
            sky_options[i].type->fini((char *)config + sky_options[i].offset);
    }
    free(config->agent.service);
    sky_error_pages_destroy(config->pages);
    sky_config_clear_upstreams(config);
    sky_config_clear_listeners(config);
    free(config);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parser of the command line. Not getopt_long: it takes abbreviations, which break when an option
 * is added, and cannot say which name was meant. */
#include "proxy/config/config_command.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_list.h"
#include "proxy/config/config_option.h"

static const char place[] = "command line";

static const struct flag {
    const char *name;
    enum { FLAG_FILE, FLAG_VALUE, FLAG_ACTION } kind;
    int meaning; /* kind of the value, or the action */
} flags[] = {
    {"--config", FLAG_FILE, 0},
    {"--listen", FLAG_VALUE, SKY_COMMAND_LISTEN},
    {"--upstream", FLAG_VALUE, SKY_COMMAND_UPSTREAM},
    {"--service", FLAG_VALUE, SKY_COMMAND_SERVICE},
    {"--set", FLAG_VALUE, SKY_COMMAND_SET},
    {"--check", FLAG_ACTION, SKY_CONFIG_CHECK},
    {"--print-config", FLAG_ACTION, SKY_CONFIG_PRINT},
    {"--print-example", FLAG_ACTION, SKY_CONFIG_PRINT_EXAMPLE},
    {"--print-reference", FLAG_ACTION, SKY_CONFIG_PRINT_REFERENCE},
    {"--version", FLAG_ACTION, SKY_CONFIG_VERSION},
    {"--help", FLAG_ACTION, SKY_CONFIG_HELP},
    {"-h", FLAG_ACTION, SKY_CONFIG_HELP},
};
#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

static void report(struct sky_problems *problems, const char *option, const char *what,
                   const char *accepted, const char *nearest)
{
    sky_problem_report(problems, &(struct sky_problem){.place = place,
                                                       .option = option,
                                                       .what = what,
                                                       .accepted = accepted,
                                                       .nearest = nearest});
}

static const struct flag *find_flag(const char *name, size_t len)
{
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    }
    return NULL;
}

static void report_unknown(struct sky_problems *problems, const char *argument)
{
    if (argument[0] != '-') {
        report(problems, argument, "is no option", "skystitch --help shows them", NULL);
        return;
    }
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (sky_problem_nearer(argument, flags[i].name, &best))
            nearest = flags[i].name;
    }
    report(problems, argument, "unknown option", nearest == NULL ? "what --help shows" : NULL,
           nearest);
}

/* The value after `=` or in the next argument; NULL when there is none. */
static const char *take_value(const char *argument, size_t name_len, int argc, char *const *argv,
                              int *index)
{
    if (argument[name_len] == '=')
        return argument + name_len + 1;
    if (*index + 1 >= argc)
        return NULL;
    return argv[++*index];
}

static void take(struct sky_command *command, const struct flag *flag, const char *value)
{
    switch (flag->kind) {
    case FLAG_FILE:
        command->file = value;
        break;
    case FLAG_VALUE:
        command->values[command->value_count].kind = (unsigned)flag->meaning;
        command->values[command->value_count++].text = value;
        break;
    case FLAG_ACTION:
        command->action = (enum sky_config_action)flag->meaning;
        break;
    }
}

void sky_command_read(struct sky_command *command, int argc, char *const *argv,
                      struct sky_problems *problems)
{
    *command = (struct sky_command){.action = SKY_CONFIG_RUN};
    command->values = calloc((size_t)argc + 1, sizeof(*command->values));
    if (command->values == NULL) {
        report(problems, NULL, "memory is out", NULL, NULL);
        return;
    }
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *value = NULL;
        size_t name_len = strcspn(argument, "=");
        const struct flag *flag = find_flag(argument, name_len);
        if (flag == NULL) {
            report_unknown(problems, argument);
            /* what follows was meant as its value */
            if (argument[0] == '-' && argument[name_len] == '\0' && i + 1 < argc &&
                argv[i + 1][0] != '-')
                i++;
            continue;
        }
        if (flag->kind == FLAG_ACTION && argument[name_len] == '=') {
            report(problems, flag->name, "takes no value", NULL, NULL);
            continue;
        }
        if (flag->kind != FLAG_ACTION) {
            value = take_value(argument, name_len, argc, argv, &i);
            if (value == NULL) {
                report(problems, flag->name, "has no value", "one behind it, as --help shows",
                       NULL);
                continue;
            }
        }
        take(command, flag, value);
    }
}

static void apply_option(const char *path, const char *value, struct sky_config *config,
                         struct sky_problems *problems)
{
    char text[256];
    const struct sky_option *option = sky_option_find(path);
    if (option != NULL) {
        sky_option_set_text(option, config, value, place, path, problems);
    } else if (strcmp(path, "listen") == 0 || strcmp(path, "upstreams") == 0 ||
               strcmp(path, "routes") == 0) {
        report(problems, path, "is a list of the file", "--listen ADDR, --upstream ADDR", NULL);
    } else if (sky_option_is_section(path)) {
        sky_option_names(path, text, sizeof(text));
        report(problems, path, "is a section", text, NULL);
    } else {
        bool near = sky_option_nearest(path, text, sizeof(text));
        report(problems, path, "unknown option", NULL, near ? text : NULL);
    }
}

static void apply_set(const char *text, struct sky_config *config, struct sky_problems *problems)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL) {
        report(problems, "--set", "has no =", "key=value, as limits.body=1GiB", NULL);
        return;
    }
    char *path = strndup(text, (size_t)(equals - text));
    if (path == NULL) {
        report(problems, "--set", "memory is out", NULL, NULL);
        return;
    }
    apply_option(path, equals + 1, config, problems);
    free(path);
}

/* All values of one kind as a list of borrowed texts; the items are heap. */
static struct sky_strings collect(const struct sky_command *command, unsigned kind)
{
    struct sky_strings items = {.items = calloc(command->value_count + 1, sizeof(char *))};
    for (size_t i = 0; items.items != NULL && i < command->value_count; i++) {
        char *copy = NULL;
        if (command->values[i].kind == kind && (copy = strdup(command->values[i].text)) != NULL)
            items.items[items.count++] = copy;
    }
    return items;
}

void sky_command_apply(const struct sky_command *command, struct sky_config *config,
                       struct sky_problems *problems)
{
    struct sky_strings listeners = collect(command, SKY_COMMAND_LISTEN);
    struct sky_strings servers = collect(command, SKY_COMMAND_UPSTREAM);
    if (listeners.count > 0)
        sky_config_replace_listeners(config, &listeners, place, "--listen", problems);
    if (servers.count > 0)
        sky_config_replace_upstreams(config, &servers, place, "--upstream", problems);
    sky_strings_fini(&listeners);
    sky_strings_fini(&servers);
    for (size_t i = 0; i < command->value_count; i++) {
        const struct sky_command_value *value = &command->values[i];
        if (value->kind == SKY_COMMAND_SET)
            apply_set(value->text, config, problems);
        else if (value->kind == SKY_COMMAND_SERVICE)
            sky_option_set_text(sky_option_find("agent.service"), config, value->text, place,
                                "--service", problems);
    }
}

void sky_command_fini(struct sky_command *command)
{
    free(command->values);
    *command = (struct sky_command){0};
}

void sky_command_help(FILE *out)
{
    fputs("skystitch - a reverse proxy that traces Flask and Django for SkyWalking\n"
          "\n"
          "  skystitch --upstream ADDR [--listen ADDR] [--service NAME] [--set KEY=VALUE]\n"
          "  skystitch --config FILE [any of the above]\n"
          "\n"
          "  --config FILE      YAML file with everything below and more\n"
          "  --listen ADDR      where requests come in, in place of the file's; default\n"
          "                     :8080. May be given several times\n"
          "  --upstream ADDR    where the app listens, in place of the file's upstreams and\n"
          "                     routes. Several are servers of one app\n"
          "  --service NAME     the service's name in SkyWalking\n"
          "  --set KEY=VALUE    any option of the file, as --set limits.body=1GiB; commas\n"
          "                     part the items of a list\n"
          "\n"
          "  --check            say whether the configuration is fine, and end\n"
          "  --print-config     print what is in effect, secrets masked, and end\n"
          "  --print-example    print a file with every option at its default, and end\n"
          "  --print-reference  print all options and counters as Markdown, and end\n"
          "  --version, --help\n"
          "\n"
          "  ADDR is host:port, [v6]:port, :port or unix:/path\n"
          "\n"
          "The environment comes between command line and file: SW_AGENT_NAME,\n"
          "SW_AGENT_COLLECTOR_BACKEND_SERVICES and the other names of the Python agent, and\n"
          "SKYSTITCH_<SECTION>_<KEY> for each option.\n"
          "\n"
          "  skystitch --listen :8080 --upstream unix:/run/shop.sock --service shop\n"
          "\n"
          "While it runs, traces and metrics are at http://127.0.0.1:9411/\n"
          "TERM, INT: stop when running requests are answered. QUIT: stop at once.\n"
          "HUP: read the configuration again; what is wrong with it changes nothing\n"
          "USR1: reopen the access log. USR2: start the executable anew in this one's place\n"
          "Exit status: 0 stopped, 1 cannot run, 2 bad configuration or command line\n",
          out);
}

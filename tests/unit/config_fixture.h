/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations made from a command line, an environment and the text of a file, with the lines
 * that would go to stderr kept. */
#ifndef SKY_TESTS_CONFIG_FIXTURE_H
#define SKY_TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/config/config_command.h"
#include "proxy/config/config_file.h"
#include "proxy/config/config_print.h"
#include "proxy/config/config_problem.h"
#include "proxy/config/config_read.h"

struct reading {
    struct sky_config *config; /* NULL when there were errors */
    struct sky_problems problems;
    char *lines;
    size_t size;
};

static inline void reading_begin(struct reading *reading)
{
    *reading = (struct reading){0};
    reading->problems.out = open_memstream(&reading->lines, &reading->size);
    assert_non_null(reading->problems.out);
}

static inline void reading_end(struct reading *reading)
{
    sky_config_destroy(reading->config);
    fclose(reading->problems.out);
    free(reading->lines);
}

/* Arguments without the program's name, ended by NULL; environment likewise. */
static inline void read_all(struct reading *reading, const char *const *arguments,
                            const char *const *environment)
{
    char *argv[32] = {(char[]){"skystitch"}};
    char *variables[32] = {NULL};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = strdup(arguments[argc - 1]);
    for (size_t i = 0; environment[i] != NULL; i++)
        variables[i] = strdup(environment[i]);
    struct sky_command command;
    reading_begin(reading);
    sky_command_read(&command, argc, argv, &reading->problems);
    reading->config = sky_config_read(&command, variables, &reading->problems);
    sky_command_fini(&command);
    fflush(reading->problems.out);
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    for (size_t i = 0; variables[i] != NULL; i++)
        free(variables[i]);
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ARGUMENTS ((const char *const[]){NULL})

/* The file alone over the defaults; not completed. */
static inline void read_file_text(struct reading *reading, const char *text, size_t len)
{
    reading_begin(reading);
    reading->config = sky_config_defaults(&reading->problems);
    assert_non_null(reading->config);
    sky_config_file_apply(reading->config, "shop.yaml", text, len, &reading->problems);
    fflush(reading->problems.out);
}

/* What --print-config would show; heap. Not inlined: gcc 12 takes what open_memstream has put into
 * `text` for its address, and calls the result dangling. */
__attribute__((noinline, unused)) static char *printed(const struct sky_config *config)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_true(sky_config_write(config, out));
    fclose(out);
    return text;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML file: any bytes give a configuration or a report, and what is printed of a sound one
 * reads back as the same. */
#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_file.h"
#include "proxy/config/config_print.h"
#include "proxy/config/config_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char *print(const struct sky_config *config, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (!sky_config_write(config, out) || fclose(out) != 0)
        abort();
    return text;
}

/* A secret is printed masked, and the mask is refused. */
static bool has_secret(const struct sky_config *config)
{
    return config->reporter.authentication[0] != '\0' || config->stitch.token[0] != '\0';
}

static void check_round_trip(const struct sky_config *config, struct sky_problems *problems)
{
    size_t size, size_again;
    char *text = print(config, &size);
    struct sky_config *again = sky_config_defaults(problems);
    sky_config_file_apply(again, "printed", text, size, problems);
    char *text_again = print(again, &size_again);
    if (problems->errors > 0 || size != size_again || memcmp(text, text_again, size) != 0)
        abort();
    free(text_again);
    free(text);
    sky_config_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *lines = NULL;
    size_t lines_size;
    struct sky_problems problems = {.out = open_memstream(&lines, &lines_size)};
    struct sky_config *config = sky_config_defaults(&problems);
    if (config == NULL || problems.errors > 0)
        abort();
    sky_config_file_apply(config, "fuzz.yaml", bytes, size, &problems);
    fflush(problems.out);
    if ((problems.errors > 0) != (lines_size > 0))
        abort();
    if (problems.errors == 0 && !has_secret(config))
        check_round_trip(config, &problems);
    sky_config_destroy(config);
    fclose(problems.out);
    free(lines);
    return 0;
}

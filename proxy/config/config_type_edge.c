/* SPDX-License-Identifier: Apache-2.0 */
/* Option types of what faces the clients: how often they may come. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/config/config_option.h"
#include "proxy/config/config_type.h"

/* Larger counts in a period would leave less than a microsecond between two. */
#define COUNT_MAX 1000000

static const struct period {
    const char *name;
    uint32_t seconds;
} periods[] = {{"s", 1}, {"m", 60}, {"h", 3600}};

/* A route may switch the general limit off by a rate that nobody reaches; `off` is the default. */
static const char *read_frequency(const struct sky_option *option, void *field, const char *text)
{
    struct sky_frequency *frequency = field;
    (void)option;
    if (strcasecmp(text, "off") == 0 || strcasecmp(text, "false") == 0) {
        *frequency = (struct sky_frequency){0};
        return NULL;
    }
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return "is no rate";
    unsigned long count = strtoul(text, &end, 10);
    for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
        if (*end != '/' || strcasecmp(end + 1, periods[i].name) != 0)
            continue;
        if (count == 0 || count > COUNT_MAX)
            return count == 0 ? "is too small" : "is too large";
        *frequency = (struct sky_frequency){(uint32_t)count, periods[i].seconds};
        return NULL;
    }
    return "is no rate";
}

static json_t *write_frequency(const struct sky_option *option, const void *field)
{
    const struct sky_frequency *frequency = field;
    char text[32];
    (void)option;
    if (frequency->count == 0)
        return json_string("off");
    size_t i = 0;
    while (periods[i].seconds != frequency->period_s)
        i++;
    snprintf(text, sizeof(text), "%" PRIu32 "/%s", frequency->count, periods[i].name);
    return json_string(text);
}

const struct sky_option_type sky_option_type_frequency = {
    .name = "off or rate",
    .accepted = "off or a rate, as 10/s, 300/m or 1000/h",
    .read = read_frequency,
    .write = write_frequency,
};

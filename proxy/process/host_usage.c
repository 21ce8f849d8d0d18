/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/process/host_usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The lines in use are the first ones. */
#define READ_BYTES 2048

static bool read_begin(const char *path, char text[READ_BYTES])
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    text[fread(text, 1, READ_BYTES - 1, file)] = '\0';
    fclose(file);
    return true;
}

/* user nice system idle iowait irq softirq steal: waiting for a disk is not being busy, and a
 * guest's time is in the user's. */
bool sky_cpu_ticks_parse(const char *stat, struct sky_cpu_ticks *ticks)
{
    uint64_t field[8] = {0};

    if (strncmp(stat, "cpu ", 4) != 0 || sscanf(stat,
                                                "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                                                " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                                                &field[0], &field[1], &field[2], &field[3],
                                                &field[4], &field[5], &field[6], &field[7]) < 4)
        return false;
    *ticks = (struct sky_cpu_ticks){0};
    for (int i = 0; i < 8; i++) {
        ticks->all += field[i];
        ticks->busy += i == 3 || i == 4 ? 0 : field[i];
    }
    return true;
}

static bool find_kib(const char *meminfo, const char *name, double *bytes)
{
    const char *line = strstr(meminfo, name);
    uint64_t kib;

    if (line == NULL || sscanf(line + strlen(name), " %" SCNu64, &kib) != 1)
        return false;
    *bytes = (double)kib * 1024;
    return true;
}

bool sky_memory_parse(const char *meminfo, double *total, double *used)
{
    double available;

    if (!find_kib(meminfo, "MemTotal:", total) || !find_kib(meminfo, "MemAvailable:", &available) ||
        *total <= 0)
        return false;
    *used = *total - available;
    return true;
}

bool sky_cpu_ticks_read(struct sky_cpu_ticks *ticks)
{
    char text[READ_BYTES];

    return read_begin("/proc/stat", text) && sky_cpu_ticks_parse(text, ticks);
}

bool sky_memory_read(double *total, double *used)
{
    char text[READ_BYTES];

    return read_begin("/proc/meminfo", text) && sky_memory_parse(text, total, used);
}

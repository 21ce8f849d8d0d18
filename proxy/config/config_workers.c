/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the CPU quota of the cgroup. A container sees all CPUs of its host in the affinity, and as
 * many busy threads would be throttled for most of each period. */
#include "proxy/config/config_workers.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Reads a small file as text; false when it cannot be. */
static bool read_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = fread(out, 1, size - 1, file);
    fclose(file);
    out[len] = '\0';
    return len > 0;
}

static uint32_t cpus_of(uint64_t quota_us, uint64_t period_us)
{
    if (period_us == 0)
        return UINT32_MAX;
    uint64_t cpus = quota_us / period_us + (quota_us % period_us != 0);
    return cpus == 0 ? 1 : cpus > UINT32_MAX ? UINT32_MAX : (uint32_t)cpus;
}

/* cpu.max of version 2 is "max 100000" or "150000 100000". */
static uint32_t quota_v2(const char *directory)
{
    char path[PATH_MAX], text[64];
    uint64_t quota, period;
    snprintf(path, sizeof(path), "%s/cpu.max", directory);
    if (!read_file(path, text, sizeof(text)) ||
        sscanf(text, "%" SCNu64 " %" SCNu64, &quota, &period) != 2)
        return UINT32_MAX;
    return cpus_of(quota, period);
}

/* Version 1: -1 is no quota. */
static uint32_t quota_v1(const char *directory)
{
    char path[PATH_MAX], quota_text[32], period_text[32];
    int64_t quota, period;
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", directory);
    if (!read_file(path, quota_text, sizeof(quota_text)))
        return UINT32_MAX;
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", directory);
    if (!read_file(path, period_text, sizeof(period_text)) ||
        sscanf(quota_text, "%" SCNd64, &quota) != 1 ||
        sscanf(period_text, "%" SCNd64, &period) != 1)
        return UINT32_MAX;
    return quota <= 0 || period <= 0 ? UINT32_MAX : cpus_of((uint64_t)quota, (uint64_t)period);
}

/* The strictest quota from the group up to the mount. In a container the group's own path may be
 * the host's and not exist here; the mount is then the group itself. */
static uint32_t strictest(const char *mount, const char *group, uint32_t (*quota)(const char *))
{
    char directory[PATH_MAX];
    size_t mount_len = strlen(mount);
    uint32_t least = UINT32_MAX;
    if (snprintf(directory, sizeof(directory), "%s%s", mount, group) >= (int)sizeof(directory))
        return quota(mount);
    for (;;) {
        uint32_t cpus = quota(directory);
        least = cpus < least ? cpus : least;
        char *slash = strrchr(directory + mount_len, '/');
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

/* Whether "cpu" is one of the controllers of a line of version 1, as "cpu,cpuacct". */
static bool names_cpu(const char *controllers, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t word = strcspn(controllers + at, ",:");
        if (word == 3 && memcmp(controllers + at, "cpu", 3) == 0)
            return true;
        at += word + 1;
    }
    return false;
}

/* One line of /proc/self/cgroup: `hierarchy:controllers:group`, no controllers in version 2. */
static uint32_t quota_of_line(const char *line, size_t len, const char *root)
{
    char group[PATH_MAX], mount[PATH_MAX];
    const char *end = line + len;
    const char *controllers = memchr(line, ':', len);
    if (controllers == NULL)
        return UINT32_MAX;
    controllers++;
    const char *colon = memchr(controllers, ':', (size_t)(end - controllers));
    if (colon == NULL || (size_t)(end - colon) > sizeof(group))
        return UINT32_MAX;
    memcpy(group, colon + 1, (size_t)(end - colon - 1));
    group[end - colon - 1] = '\0';
    if (colon == controllers)
        return strictest(root, group, quota_v2);
    if (!names_cpu(controllers, (size_t)(colon - controllers)))
        return UINT32_MAX;
    snprintf(mount, sizeof(mount), "%s/cpu", root);
    return strictest(mount, group, quota_v1);
}

uint32_t sky_workers_quota(const char *membership, const char *root)
{
    uint32_t least = UINT32_MAX;
    for (const char *line = membership; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        uint32_t cpus = quota_of_line(line, len, root);
        least = cpus < least ? cpus : least;
        line += len + (line[len] == '\n');
    }
    return least;
}

uint32_t sky_workers_auto(void)
{
    char membership[8192];
    cpu_set_t set;
    long cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                             : sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t allowed = cpus >= 1 ? (uint32_t)cpus : 1;
    if (read_file("/proc/self/cgroup", membership, sizeof(membership))) {
        uint32_t quota = sky_workers_quota(membership, "/sys/fs/cgroup");
        allowed = quota < allowed ? quota : allowed;
    }
    return allowed;
}

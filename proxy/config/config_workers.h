/* SPDX-License-Identifier: Apache-2.0 */
/* How many CPUs this process may really use. */
#ifndef SKY_PROXY_CONFIG_CONFIG_WORKERS_H
#define SKY_PROXY_CONFIG_CONFIG_WORKERS_H

#include <stdint.h>

/* sky_workers_auto: the lesser of the CPU affinity and of the cgroup's quota, rounded up; >= 1. */
uint32_t sky_workers_auto(void);

/* sky_workers_quota: CPUs that the quota of a process's cgroup, or of any group above it, allows,
 * rounded up; UINT32_MAX without a quota. `membership` is the text of /proc/self/cgroup, `root` the
 * directory where the hierarchies are mounted. Both versions of cgroups are read. */
uint32_t sky_workers_quota(const char *membership, const char *root);

#endif

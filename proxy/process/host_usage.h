/* SPDX-License-Identifier: Apache-2.0 */
/* CPU and memory of the machine, which proxy and app share. */
#ifndef SKY_PROXY_PROCESS_HOST_USAGE_H
#define SKY_PROXY_PROCESS_HOST_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* As the kernel counts since the boot, in ticks of all CPUs. */
struct sky_cpu_ticks {
    uint64_t busy, all;
};

/* sky_cpu_ticks_parse: the first line of /proc/stat. */
bool sky_cpu_ticks_parse(const char *stat, struct sky_cpu_ticks *ticks);

/* sky_memory_parse: /proc/meminfo; what applications could have is not in use. In bytes. */
bool sky_memory_parse(const char *meminfo, double *total, double *used);

/* sky_cpu_ticks_read, sky_memory_read: of now. False when /proc does not tell. */
bool sky_cpu_ticks_read(struct sky_cpu_ticks *ticks);
bool sky_memory_read(double *total, double *used);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the app's processes say of themselves: properties, meters and log records. One table for the
 * whole proxy, since a process talks to the channels of several workers. Any thread; a lock, which
 * no request waits for: messages of this kind are few. */
#ifndef SKY_PROXY_PROCESS_PROCESSES_H
#define SKY_PROXY_PROCESS_PROCESSES_H

#include "proxy/config/config.h"
#include "proxy/counters.h"
#include "proxy/process/process_word.h"
#include "proxy/trace/identity.h"
#include "reporter/reporter.h"

struct sky_processes;
struct sky_process;

/* sky_processes_new: both are borrowed. NULL when memory is out. */
struct sky_processes *sky_processes_new(const struct sky_config *config,
                                        struct sky_reporter *reporter);

/* sky_processes_destroy: no connection may be known any more. NULL is fine. */
void sky_processes_destroy(struct sky_processes *processes);

/* sky_processes_flags: the letters of sw8-stitch that ask helpers for what is wanted of them. Valid
 * as long as the table. */
struct sky_text sky_processes_flags(const struct sky_processes *processes);

/* Whether a word comes from who may speak for the app: the connection says so, or it names a
 * request that is open just now, whose id nobody else knows. */
typedef bool sky_process_trust_fn(void *data, struct sky_text request);

/* sky_processes_take: a message of a helper. *process is what its connection is known by, NULL
 * before its first word; it may be replaced. A process that was trusted once stays so. counters: of
 * the calling thread. */
void sky_processes_take(struct sky_processes *processes, struct sky_process **process,
                        const struct json_t *root, sky_process_trust_fn *trust, void *trust_data,
                        struct sky_counters *counters);

/* sky_processes_leave: the connection is closed; a process without one has gone. */
void sky_processes_leave(struct sky_processes *processes, struct sky_process *process);

/* sky_processes_count: how many are known. */
size_t sky_processes_count(struct sky_processes *processes);

/* What all processes come to. */
struct sky_processes_sum {
    size_t with_meters; /* processes; 0: the rest says nothing */
    double cpu;         /* CPUs in use, by processes heard of since `fresh_ms` ago */
    double rss_bytes, threads;
    double gc_collected[3], gc_ms; /* since the proxy began; they never shrink */
};

/* sky_processes_sum: now_ms as sky_processes_now_ms. */
void sky_processes_sum(struct sky_processes *processes, int64_t now_ms, int64_t fresh_ms,
                       struct sky_processes_sum *sum);

int64_t sky_processes_now_ms(void);

/* sky_processes_properties: InstanceProperties of the identity and of what the processes have said,
 * when that has changed since the last call; the identity's keys are its own. The caller's; NULL
 * when there is nothing new, or memory is out: then it is tried again. */
struct sky_packet *sky_processes_properties(struct sky_processes *processes,
                                            const struct sky_identity *identity);

#endif

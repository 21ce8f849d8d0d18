/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: the newest segments in bounded memory, for the trace page. Any thread. */
#ifndef SKY_REPORTER_LOCAL_H
#define SKY_REPORTER_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "reporter/segment.h"

/* More rows are never listed at once. */
#define SKY_LOCAL_MAX_ROWS 1000

struct sky_local;

/* sky_local_new: holds packets of at most max_bytes in all. NULL when memory is out. */
struct sky_local *sky_local_new(size_t max_bytes);

void sky_local_destroy(struct sky_local *local);

/* sky_local_store: takes the packet over; the oldest make room for it. */
void sky_local_store(struct sky_local *local, struct sky_packet *packet);

/* What is held, and how many segments have made room for newer ones. */
struct sky_local_totals {
    uint64_t segments, bytes, evicted;
};

struct sky_local_totals sky_local_totals(struct sky_local *local);

/* sky_local_traces: the JSON text of GET /api/traces: a row for each of the `limit` traces with the
 * newest segments, newest first. Heap, freed by the caller; NULL when memory is out. */
char *sky_local_traces(struct sky_local *local, size_t limit);

/* sky_local_trace: the JSON text of GET /api/traces/{id}: the trace's segments in order of arrival.
 * Heap, freed by the caller; NULL when there is none, or memory is out. */
char *sky_local_trace(struct sky_local *local, struct sky_text trace_id);

#endif

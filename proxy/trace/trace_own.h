/* SPDX-License-Identifier: Apache-2.0 */
/* Reports segments that the app made without a request, as agent.sampling has it. */
#ifndef SKY_PROXY_TRACE_TRACE_OWN_H
#define SKY_PROXY_TRACE_TRACE_OWN_H

struct sky_stitch_own;

/* sky_trace_own: a sky_stitch_own_fn whose data is the worker. */
void sky_trace_own(void *worker, const struct sky_stitch_own *own);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests are left untraced, by agent.ignore_path, ignore_suffix, ignore_method and
 * ignore_probes. Pure. */
#ifndef SKY_PROXY_TRACE_IGNORE_H
#define SKY_PROXY_TRACE_IGNORE_H

#include <stdbool.h>

#include "propagation/text.h"
#include "proxy/config/config.h"

#define SKY_IGNORE_PATTERN_MAX_BYTES 255

/* sky_ignore_probe: whether a User-Agent is that of a well-known health check
 * (agent.ignore_probes). */
bool sky_ignore_probe(struct sky_text user_agent);

/* sky_ignored: whether a request is to be left untraced. The target's query does not count.
 * Suffixes are compared as they are written, methods without regard to case, as the in-app agent
 * does. */
bool sky_ignored(const struct sky_config *config, struct sky_text method, struct sky_text target);

/* sky_ignore_matches: whether a path, %XX decoded on the way, matches a pattern as a whole. As in
 * the in-app agent: ?   one byte but a slash
 *   *   any number of bytes but a slash
 *   **  nothing, or whole segments: no empty one, and no slash at the end; with a slash on both
 * sides any number of segments, empty ones too, or none A pattern longer than
 * SKY_IGNORE_PATTERN_MAX_BYTES matches nothing; the configuration refuses it. The time is bounded
 * by the product of the lengths, whoever wrote the path. */
bool sky_ignore_matches(const char *pattern, struct sky_text path);

#endif

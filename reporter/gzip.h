/* SPDX-License-Identifier: Apache-2.0 */
/* Packets compressed one by one, as gRPC wants its messages. Reporter thread only. */
#ifndef SKY_REPORTER_GZIP_H
#define SKY_REPORTER_GZIP_H

#include <stdbool.h>

#include "reporter/packets.h"

/* sky_gzip_packets: puts a compressed copy of each packet into the empty list. false: memory is
 * out, and the list is empty. */
bool sky_gzip_packets(const struct sky_packets *packets, struct sky_packets *compressed)
    __attribute__((warn_unused_result));

#endif

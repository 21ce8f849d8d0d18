/* SPDX-License-Identifier: Apache-2.0 */
/* The sw8-correlation header (SkyWalking's Cross Process Correlation Headers Protocol
 * v1). Pure: no allocation, no clock, no I/O. */
#ifndef SKY_PROPAGATION_SW8_CORRELATION_H
#define SKY_PROPAGATION_SW8_CORRELATION_H

#include <stddef.h>

#include "propagation/text.h"

#define SKY_CORRELATION_MAX_ELEMENTS 3
#define SKY_CORRELATION_MAX_VALUE_BYTES 128

/* sky_correlation_clean: copies the sound elements of a received value to dst (at least value.len
 * bytes), joined by commas, byte for byte as they came; at most SKY_CORRELATION_MAX_ELEMENTS,
 * decoded values at most SKY_CORRELATION_MAX_VALUE_BYTES, keys not empty. Returns the bytes
 * written; 0 means that nothing is to be forwarded. */
size_t sky_correlation_clean(struct sky_text value, char *dst);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a client says of a content coding in Accept-Encoding (RFC 9110, 12.5.3). Pure. */
#ifndef SKY_PROXY_HTTP_CODING_WEIGHT_H
#define SKY_PROXY_HTTP_CODING_WEIGHT_H

#include "propagation/text.h"

/* sky_coding_weight: the weight of the coding in thousandths, that of `*` when it is not named; 0:
 * it is not to be used. A malformed weight counts as 0. */
unsigned sky_coding_weight(struct sky_text accept_encoding, struct sky_text coding);

#endif

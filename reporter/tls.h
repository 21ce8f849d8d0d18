/* SPDX-License-Identifier: Apache-2.0 */
/* Checks what calls over TLS need before the first of them: a wrong path must stop the start, not
 * fail each call. */
#ifndef SKY_REPORTER_TLS_H
#define SKY_REPORTER_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "reporter/reporter.h"

/* sky_backend_tls_check: reads the files that `tls` names. false: `error` tells which and why, as
 * "ca: /etc/ca.pem: No such file or directory". */
bool sky_backend_tls_check(const struct sky_backend_tls *tls, char *error, size_t error_size)
    __attribute__((warn_unused_result));

#endif

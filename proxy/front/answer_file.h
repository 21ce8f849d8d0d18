/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of answers that are a part of a file, which the kernel sends without copies (sendfile).
 *
 * Only where nothing but the socket wants to see the bytes: not with TLS, HTTP/2 or an output
 * stream that changes them. There, and for small files, h2o_send is what is to be used. */
#ifndef SKY_PROXY_FRONT_ANSWER_FILE_H
#define SKY_PROXY_FRONT_ANSWER_FILE_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

struct sky_answer_file {
    int fd;
    uint64_t at, left;
};

/* sky_front_send_file: as h2o_send of something that is not the last, of an answer with a length
 * and to another method than HEAD. The generator goes on when file->left is 0, or when this way
 * leads no further; then what is left is to be read, which tells why. file is borrowed until then,
 * or until the request is disposed of. False, and nothing is done, when this answer cannot be sent
 * so. SIGPIPE has to be ignored. */
bool sky_front_send_file(h2o_req_t *req, struct sky_answer_file *file);

#endif

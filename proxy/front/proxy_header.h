/* SPDX-License-Identifier: Apache-2.0 */
/* The header with which a load balancer begins a connection, to tell whose it is: the PROXY
 * protocol, versions 1 and 2. Pure. */
#ifndef SKY_PROXY_FRONT_PROXY_HEADER_H
#define SKY_PROXY_FRONT_PROXY_HEADER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "propagation/text.h"

/* A header of version 2 with more than this is refused: its fields beyond the addresses are not
 * used here. Version 1 ends within 107 bytes. */
#define SKY_PROXY_HEADER_MAX 4096

enum sky_proxy_header_result {
    SKY_PROXY_HEADER_MORE, /* all of the input is a part of it */
    SKY_PROXY_HEADER_WHOLE,
    SKY_PROXY_HEADER_BAD
};

struct sky_proxy_header {
    size_t bytes;                   /* of the header; what follows is the client's */
    struct sockaddr_storage client; /* AF_UNSPEC: the peer speaks for itself, or does not say */
    socklen_t client_len;
};

enum sky_proxy_header_result sky_proxy_header_parse(struct sky_text input,
                                                    struct sky_proxy_header *header)
    __attribute__((warn_unused_result));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head as a packet of the uwsgi protocol: what uWSGI listens for with --socket.
 *
 * A packet is four bytes (modifier 0 for Python, the length of the block in 16 bits, little end
 * first, modifier 0) and a block of variables, each name and value behind its length in 16 bits.
 * The body follows as it is; the answer is one of HTTP/1, and the connection is closed after it.
 * Pure. */
#ifndef SKY_PROXY_BACK_UWSGI_H
#define SKY_PROXY_BACK_UWSGI_H

#include <stdbool.h>
#include <stddef.h>

#include "propagation/text.h"

#define SKY_UWSGI_HEADER_BYTES 4
#define SKY_UWSGI_BLOCK_MAX_BYTES 65535

/* uWSGI's own --buffer-size: it closes the connection without a word on a longer block. */
#define SKY_UWSGI_DEFAULT_BUFFER_BYTES 4096

/* What an HTTP head does not say. */
struct sky_uwsgi {
    struct sky_text remote_addr, remote_port; /* of the client; may be empty */
    struct sky_text server_port;              /* that it came to */
    bool https;
};

/* sky_uwsgi_bound: no packet of a head of so many bytes is longer. */
size_t sky_uwsgi_bound(const struct sky_uwsgi *uwsgi, size_t head_bytes);

/* sky_uwsgi_write: the head, sound and whole as forward.h writes it, as a packet of CGI variables:
 * REQUEST_URI as it came, PATH_INFO decoded, fields as HTTP_NAME, those of one name joined as one
 * list. Returns the packet's length; 0 when its block were longer than a
 * block can be, or had more than 256 fields. */
size_t sky_uwsgi_write(const struct sky_uwsgi *uwsgi, struct sky_text head, char *dst);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the listening socket of a channel: an abstract name, or a file in a directory that proxy
 * and app share. */
#ifndef SKY_PROXY_STITCH_STITCH_SOCKET_H
#define SKY_PROXY_STITCH_STITCH_SOCKET_H

#include <sys/un.h>

/* "@name" or "/path", NUL-terminated. */
#define SKY_STITCH_ADDRESS_MAX_BYTES sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* sky_stitch_socket_listen: returns a listening descriptor (non-blocking, close on exec) and its
 * address, or -1 after one log line. directory NULL: abstract. In a directory, files of channels
 * that refuse a connection are removed first; the new one appears under its name with mode 0660 and
 * group
 * ("" for the process's own) when it is already listening. */
int sky_stitch_socket_listen(const char *directory, const char *group, size_t worker_index,
                             char address[SKY_STITCH_ADDRESS_MAX_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* For test_tls_files.py, to be preloaded: a line `bytes more` in the file SKY_TEST_SENDS for each
 * send(2), where more is 1 if the kernel is told that more follows. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    int log = open(getenv("SKY_TEST_SENDS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (log == -1)
        abort();
    dprintf(log, "%zu %d\n", len, (flags & MSG_MORE) != 0);
    close(log);
    return sendto(fd, bytes, len, flags, NULL, 0);
}

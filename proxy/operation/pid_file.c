/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/operation/privileges.h"
#include "reporter/log.h"

/* A number and a newline. */
#define TEXT_BYTES 24

int sky_pid_file_open(const struct sky_config *config, int *fd)
{
    *fd = -1;
    if (config->pid_file[0] == '\0')
        return 0;
    *fd = open(config->pid_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (*fd != -1 && sky_privileges_give(config, *fd) == 0)
        return 0;
    sky_log(SKY_LOG_ERROR, "pid_file: %s: %s; its folder has to exist and be writable",
            config->pid_file, strerror(errno));
    return -1;
}

void sky_pid_file_write(const struct sky_config *config, int fd)
{
    char text[TEXT_BYTES];

    if (fd == -1)
        return;
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    /* its first line is a whole number at any time */
    if (pwrite(fd, text, (size_t)len, 0) != len || ftruncate(fd, len) != 0)
        sky_log(SKY_LOG_WARN, "pid_file: %s: %s", config->pid_file, strerror(errno));
}

/* Nothing in it was not written yet: a start that failed. */
static bool is_ours(int fd)
{
    char text[TEXT_BYTES] = "";
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

    return len == 0 || (len > 0 && strtol(text, NULL, 10) == (long)getpid());
}

void sky_pid_file_close(const struct sky_config *config, int fd)
{
    if (fd == -1)
        return;
    if (is_ours(fd) && unlink(config->pid_file) != 0 && ftruncate(fd, 0) != 0)
        sky_log(SKY_LOG_WARN, "pid_file: %s: %s", config->pid_file, strerror(errno));
    close(fd);
}

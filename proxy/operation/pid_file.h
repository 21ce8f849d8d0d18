/* SPDX-License-Identifier: Apache-2.0 */
/* The file pid_file, in which other programs read whom to send signals to. It is opened while the
 * process may still do so, and written once everything runs: until then it names the process before
 * it, if there is one. Main thread. */
#ifndef SKY_PROXY_OPERATION_PID_FILE_H
#define SKY_PROXY_OPERATION_PID_FILE_H

#include "proxy/config/config.h"

/* sky_pid_file_open: made if it is not there, as a file of whom the process becomes; *fd is -1
 * without the option. -1 after a line in the log. */
int sky_pid_file_open(const struct sky_config *config, int *fd);

/* sky_pid_file_write: the number of this process in place of what it holds. */
void sky_pid_file_write(const struct sky_config *config, int fd);

/* sky_pid_file_close: removes it unless it names another process by now; where the folder does not
 * let it, the file is left empty. fd may be -1. */
void sky_pid_file_close(const struct sky_config *config, int fd);

#endif

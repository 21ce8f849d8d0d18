/* SPDX-License-Identifier: Apache-2.0 */
/* skystitch: reads the configuration and runs the server. Exit status: 0 clean stop, 1 cannot run,
 * 2 bad configuration or command line. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "proxy/config/config.h"
#include "proxy/front/inherited.h"
#include "proxy/server.h"

static int check(const struct sky_config *config)
{
    int status = sky_server_check(config);
    if (status == 0)
        puts("configuration is fine");
    return status;
}

/* A socket that gets one of these numbers would be sent the log. */
static void fill_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd != -1)
        close(fd);
}

/* Packed segments are made by one thread and freed by another, a batch a second: by default glibc
 * hands the pages back each time and faults them in again for the next batch. */
#define KEPT_HEAP_BYTES (32 << 20)

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    sky_inherited_read();
    mallopt(M_TRIM_THRESHOLD, KEPT_HEAP_BYTES);
    enum sky_config_action action = SKY_CONFIG_RUN;
    struct sky_config *config = sky_config_load(argc, argv, environ, &action);
    if (config == NULL)
        /* what was asked for needs no configuration and was printed already, or it is wrong */
        return action == SKY_CONFIG_RUN || action == SKY_CONFIG_CHECK || action == SKY_CONFIG_PRINT
                   ? 2
                   : 0;
    int status = 0;
    switch (action) {
    case SKY_CONFIG_CHECK:
        status = check(config);
        break;
    case SKY_CONFIG_PRINT:
        sky_config_print(config);
        break;
    default:
        return sky_server_run(config, argc, argv, environ);
    }
    sky_config_destroy(config);
    return status;
}

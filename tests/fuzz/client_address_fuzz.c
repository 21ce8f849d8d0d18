/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of X-Forwarded-For and Forwarded of any bytes: they lead to an address or nowhere. */
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>

#include "proxy/client_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sockaddr_storage loopback(void)
{
    struct sockaddr_storage address = {0};

    ((struct sockaddr_in *)&address)->sin_family = AF_INET;
    ((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sky_text list = sky_text((const char *)data, size);
    struct sky_trust all = {.all = true}, nobody = {0};
    struct sockaddr_storage client = loopback();

    (void)sky_client_walk(list, &all, &client);
    assert(client.ss_family == AF_INET || client.ss_family == AF_INET6);
    (void)sky_client_walk_forwarded(list, &all, &client);
    assert(client.ss_family == AF_INET || client.ss_family == AF_INET6);
    client = loopback();
    (void)sky_client_walk(list, &nobody, &client);
    (void)sky_client_walk_forwarded(list, &nobody, &client);
    assert(((struct sockaddr_in *)&client)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    return 0;
}

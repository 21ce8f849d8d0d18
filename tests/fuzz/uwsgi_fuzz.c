/* SPDX-License-Identifier: Apache-2.0 */
/* uwsgi packets: whatever lines a head has, the packet keeps its bound, and its block is names and
 * values that fill it exactly. */
#include "proxy/back/uwsgi.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static size_t number_at(const char *at)
{
    return (size_t)(uint8_t)at[0] | (size_t)(uint8_t)at[1] << 8;
}

/* The text behind its length; aborts when it is longer than what is left. */
static struct sky_text take(const char **at, const char *end)
{
    if (end - *at < 2)
        abort();
    size_t len = number_at(*at);
    struct sky_text text = sky_text(*at + 2, len);
    if ((size_t)(end - text.base) < len)
        abort();
    *at = text.base + len;
    return text;
}

static void check(const char *packet, size_t len)
{
    const char *at = packet + SKY_UWSGI_HEADER_BYTES, *end = packet + len;
    struct sky_text method = {0};
    bool found = false;

    if (packet[0] != 0 || packet[3] != 0 || number_at(packet + 1) != len - SKY_UWSGI_HEADER_BYTES)
        abort();
    for (size_t count = 0; at < end; ++count) {
        struct sky_text name = take(&at, end), value = take(&at, end);
        if (name.len == 0)
            abort();
        if (count == 0)
            method = name;
        found |= sky_text_equal(name, SKY_TEXT("CONTENT_LENGTH"));
        (void)value;
    }
    if (!found || !sky_text_equal(method, SKY_TEXT("REQUEST_METHOD")))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct sky_uwsgi uwsgi = {.remote_addr = SKY_TEXT("10.0.0.7"),
                              .remote_port = SKY_TEXT("65535"),
                              .server_port = SKY_TEXT("443"),
                              .https = size % 2 == 0};
    size_t bound = sky_uwsgi_bound(&uwsgi, size);
    char *packet = malloc(bound);
    size_t len = sky_uwsgi_write(&uwsgi, sky_text((const char *)bytes, size), packet);

    if (len > bound || len > SKY_UWSGI_HEADER_BYTES + SKY_UWSGI_BLOCK_MAX_BYTES)
        abort();
    if (len != 0)
        check(packet, len);
    free(packet);
    return 0;
}

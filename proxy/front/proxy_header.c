/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/front/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>

/* Bytes of version 1 at most, CRLF included; of the fixed part of version 2. */
#define LINE_MAX_BYTES 107
#define FIXED_BYTES 16

static bool starts_like(struct sky_text input, struct sky_text wanted)
{
    size_t len = input.len < wanted.len ? input.len : wanted.len;

    return memcmp(input.base, wanted.base, len) == 0;
}

/* ---- version 1 ---- */

/* Cuts off the next word; words stand apart by one space. */
static bool next_word(struct sky_text *line, struct sky_text *word)
{
    const char *space = line->len != 0 ? memchr(line->base, ' ', line->len) : NULL;
    size_t len = space != NULL ? (size_t)(space - line->base) : line->len;

    *word = sky_text(line->base, len);
    len += space != NULL;
    *line = sky_text(line->base + len, line->len - len);
    return word->len != 0;
}

static bool read_port(struct sky_text word, uint16_t *port)
{
    unsigned value = 0;

    if (word.len == 0 || word.len > 5 || (word.len > 1 && word.base[0] == '0'))
        return false;
    for (size_t i = 0; i < word.len; ++i) {
        if (word.base[i] < '0' || word.base[i] > '9')
            return false;
        value = value * 10 + (unsigned)(word.base[i] - '0');
    }
    *port = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

static bool read_address(struct sky_text word, int family, void *address)
{
    char text[INET6_ADDRSTRLEN];

    if (word.len >= sizeof(text))
        return false;
    memcpy(text, word.base, word.len);
    text[word.len] = '\0';
    return strlen(text) == word.len && inet_pton(family, text, address) == 1;
}

static void set_ipv4(struct sky_proxy_header *header, struct in_addr address, uint16_t port)
{
    struct sockaddr_in *client = (struct sockaddr_in *)&header->client;

    *client = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr = address};
    header->client_len = sizeof(*client);
}

static void set_ipv6(struct sky_proxy_header *header, struct in6_addr address, uint16_t port)
{
    struct sockaddr_in6 *client = (struct sockaddr_in6 *)&header->client;

    *client =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = address};
    header->client_len = sizeof(*client);
}

/* What follows "PROXY ", without CRLF. */
static bool read_line(struct sky_text line, struct sky_proxy_header *header)
{
    struct sky_text protocol, source, destination, source_port, destination_port;
    struct in6_addr address = {0}, ignored;
    uint16_t port, ignored_port;

    if (!next_word(&line, &protocol))
        return false;
    if (sky_text_equal(protocol, SKY_TEXT("UNKNOWN")))
        return true;
    bool ipv4 = sky_text_equal(protocol, SKY_TEXT("TCP4"));
    int family = ipv4 ? AF_INET : AF_INET6;
    if (line.len == 0 || line.base[line.len - 1] == ' ')
        return false;
    if ((!ipv4 && !sky_text_equal(protocol, SKY_TEXT("TCP6"))) || !next_word(&line, &source) ||
        !next_word(&line, &destination) || !next_word(&line, &source_port) ||
        !next_word(&line, &destination_port) || line.len != 0)
        return false;
    if (!read_address(source, family, &address) || !read_address(destination, family, &ignored) ||
        !read_port(source_port, &port) || !read_port(destination_port, &ignored_port))
        return false;
    if (ipv4) {
        struct in_addr v4;
        memcpy(&v4, &address, sizeof(v4));
        set_ipv4(header, v4, port);
    } else {
        set_ipv6(header, address, port);
    }
    return true;
}

static enum sky_proxy_header_result parse_line(struct sky_text input,
                                               struct sky_proxy_header *header)
{
    static const struct sky_text begin = SKY_TEXT_INIT("PROXY ");
    const char *end;

    if (!starts_like(input, begin))
        return SKY_PROXY_HEADER_BAD;
    end = memchr(input.base, '\n', input.len);
    if (end == NULL)
        return input.len < LINE_MAX_BYTES ? SKY_PROXY_HEADER_MORE : SKY_PROXY_HEADER_BAD;
    header->bytes = (size_t)(end - input.base) + 1;
    if (header->bytes > LINE_MAX_BYTES || header->bytes < begin.len + 2 || end[-1] != '\r')
        return SKY_PROXY_HEADER_BAD;
    return read_line(sky_text(input.base + begin.len, header->bytes - begin.len - 2), header)
               ? SKY_PROXY_HEADER_WHOLE
               : SKY_PROXY_HEADER_BAD;
}

/* ---- version 2 ---- */

/* Addresses of other families than these two are of no use here: the peer's is kept. */
static bool read_addresses(struct sky_text addresses, unsigned family,
                           struct sky_proxy_header *header)
{
    enum { TCP_OVER_IPV4 = 0x11, TCP_OVER_IPV6 = 0x21 };
    struct in_addr v4;
    struct in6_addr v6;
    uint16_t port;

    if (family == TCP_OVER_IPV4) {
        if (addresses.len < 12)
            return false;
        memcpy(&v4, addresses.base, sizeof(v4));
        memcpy(&port, addresses.base + 8, sizeof(port));
        set_ipv4(header, v4, port);
    } else if (family == TCP_OVER_IPV6) {
        if (addresses.len < 36)
            return false;
        memcpy(&v6, addresses.base, sizeof(v6));
        memcpy(&port, addresses.base + 32, sizeof(port));
        set_ipv6(header, v6, port);
    }
    return true;
}

static enum sky_proxy_header_result parse_binary(struct sky_text input,
                                                 struct sky_proxy_header *header)
{
    enum { LOCAL = 0x20, PROXY = 0x21 };
    static const struct sky_text signature = SKY_TEXT_INIT("\r\n\r\n\0\r\nQUIT\n");
    const unsigned char *at = (const unsigned char *)input.base;

    if (!starts_like(input, signature))
        return SKY_PROXY_HEADER_BAD;
    if (input.len < FIXED_BYTES)
        return SKY_PROXY_HEADER_MORE;
    header->bytes = FIXED_BYTES + (size_t)(at[14] << 8 | at[15]);
    if ((at[12] != LOCAL && at[12] != PROXY) || header->bytes > SKY_PROXY_HEADER_MAX)
        return SKY_PROXY_HEADER_BAD;
    if (input.len < header->bytes)
        return SKY_PROXY_HEADER_MORE;
    if (at[12] == PROXY &&
        !read_addresses(sky_text(input.base + FIXED_BYTES, header->bytes - FIXED_BYTES), at[13],
                        header))
        return SKY_PROXY_HEADER_BAD;
    return SKY_PROXY_HEADER_WHOLE;
}

enum sky_proxy_header_result sky_proxy_header_parse(struct sky_text input,
                                                    struct sky_proxy_header *header)
{
    *header = (struct sky_proxy_header){0};
    if (input.len == 0)
        return SKY_PROXY_HEADER_MORE;
    return input.base[0] == '\r' ? parse_binary(input, header) : parse_line(input, header);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/uwsgi.h"

#include <stdint.h>

#include "proxy/http/percent.h"

/* Names, lengths and values of all variables that are no fields. */
#define OWN_BYTES 400

/* Far above limits.header_fields and what the proxy adds. */
#define MAX_FIELDS 256

/* A packet under way. */
struct packet {
    char *at;
    char *value; /* of the variable under way; its length stands in the two bytes before it */
};

static void put_16(char *at, size_t number)
{
    at[0] = (char)(number & 0xff);
    at[1] = (char)(number >> 8 & 0xff);
}

static void put(struct packet *packet, struct sky_text text)
{
    if (text.len != 0)
        memcpy(packet->at, text.base, text.len);
    packet->at += text.len;
}

static void begin_value(struct packet *packet)
{
    packet->value = packet->at += 2;
}

static void end_value(struct packet *packet)
{
    put_16(packet->value - 2, (size_t)(packet->at - packet->value));
}

static void put_name(struct packet *packet, struct sky_text name)
{
    put_16(packet->at, name.len);
    packet->at += 2;
    put(packet, name);
}

static void put_var(struct packet *packet, struct sky_text name, struct sky_text value)
{
    put_name(packet, name);
    begin_value(packet);
    put(packet, value);
    end_value(packet);
}

/* --- what the head holds --- */

/* Cuts off what stands before the separator, and the separator; all when there is none. */
static struct sky_text cut(struct sky_text *rest, struct sky_text separator)
{
    struct sky_text first = *rest;
    const char *end =
        rest->len != 0 ? memmem(rest->base, rest->len, separator.base, separator.len) : NULL;

    if (end == NULL) {
        *rest = sky_text(NULL, 0);
        return first;
    }
    first.len = (size_t)(end - first.base);
    *rest = sky_text(end + separator.len, rest->len - first.len - separator.len);
    return first;
}

static void put_path(struct packet *packet, struct sky_text path)
{
    put_name(packet, SKY_TEXT("PATH_INFO"));
    begin_value(packet);
    while (path.len != 0)
        *packet->at++ = (char)sky_percent_take(&path);
    end_value(packet);
}

static void put_start(struct packet *packet, struct sky_text line)
{
    struct sky_text method = cut(&line, SKY_TEXT(" ")), target = cut(&line, SKY_TEXT(" "));
    struct sky_text path = sky_percent_path(target), query = {0};

    if (path.len != target.len)
        query = sky_text(target.base + path.len + 1, target.len - path.len - 1);
    put_var(packet, SKY_TEXT("REQUEST_METHOD"), method);
    put_var(packet, SKY_TEXT("REQUEST_URI"), target);
    put_path(packet, path);
    put_var(packet, SKY_TEXT("QUERY_STRING"), query);
    put_var(packet, SKY_TEXT("SERVER_PROTOCOL"), line);
}

/* RFC 3875, 4.1.18 */
static void put_field_name(struct packet *packet, struct sky_text name)
{
    put_16(packet->at, name.len + 5);
    packet->at += 2;
    put(packet, SKY_TEXT("HTTP_"));
    for (size_t i = 0; i < name.len; ++i) {
        char c = name.base[i];
        *packet->at++ = (char)(c == '-' ? '_' : c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
}

struct field {
    struct sky_text name, value;
    bool put; /* with an earlier one of its name */
};

/* Fields of the head; MAX_FIELDS + 1: there are more. */
static size_t split_fields(struct sky_text rest, struct field *fields)
{
    size_t count = 0;

    for (;;) {
        struct sky_text line = cut(&rest, SKY_TEXT("\r\n"));
        if (line.len == 0)
            return count;
        if (count == MAX_FIELDS)
            return MAX_FIELDS + 1;
        fields[count].name = cut(&line, SKY_TEXT(": "));
        fields[count].value = line;
        fields[count++].put = false;
    }
}

/* The first of the fields, and those of its name behind it. Only a Cookie's parts are put together
 * by another sign (RFC 6265, 5.4). */
static void put_field(struct packet *packet, struct field *fields, size_t count)
{
    struct sky_text name = fields[0].name;
    bool cookie = sky_text_equal_nocase(name, SKY_TEXT("cookie"));

    put_field_name(packet, name);
    begin_value(packet);
    put(packet, fields[0].value);
    for (size_t i = 1; i < count; ++i) {
        if (!sky_text_equal_nocase(fields[i].name, name))
            continue;
        fields[i].put = true;
        put(packet, cookie ? SKY_TEXT("; ") : SKY_TEXT(", "));
        put(packet, fields[i].value);
    }
    end_value(packet);
}

/* The host without its port. */
static struct sky_text server_name(struct sky_text host)
{
    const char *bracket = host.len != 0 ? memrchr(host.base, ']', host.len) : NULL;
    const char *colon = host.len != 0 ? memrchr(host.base, ':', host.len) : NULL;

    return colon != NULL && (bracket == NULL || colon > bracket)
               ? sky_text(host.base, (size_t)(colon - host.base))
               : host;
}

static void put_fields(struct packet *packet, struct field *fields, size_t count)
{
    struct sky_text type = {0}, length = {0}, host = {0};

    for (size_t i = 0; i < count; ++i) {
        struct sky_text name = fields[i].name;
        if (sky_text_equal_nocase(name, SKY_TEXT("content-type"))) {
            type = fields[i].value;
        } else if (sky_text_equal_nocase(name, SKY_TEXT("content-length"))) {
            length = fields[i].value;
        } else if (!fields[i].put) {
            if (sky_text_equal_nocase(name, SKY_TEXT("host")))
                host = fields[i].value;
            put_field(packet, &fields[i], count - i);
        }
    }
    put_var(packet, SKY_TEXT("CONTENT_TYPE"), type);
    put_var(packet, SKY_TEXT("CONTENT_LENGTH"), length);
    put_var(packet, SKY_TEXT("SERVER_NAME"), server_name(host));
}

size_t sky_uwsgi_bound(const struct sky_uwsgi *uwsgi, size_t head_bytes)
{
    /* the target stands there thrice at most; a field's five more bytes are not more than its own
     * line's least */
    return SKY_UWSGI_HEADER_BYTES + OWN_BYTES + 3 * head_bytes + uwsgi->remote_addr.len +
           uwsgi->remote_port.len + uwsgi->server_port.len;
}

size_t sky_uwsgi_write(const struct sky_uwsgi *uwsgi, struct sky_text head, char *dst)
{
    struct packet packet = {.at = dst + SKY_UWSGI_HEADER_BYTES};
    struct field fields[MAX_FIELDS];
    struct sky_text start = cut(&head, SKY_TEXT("\r\n"));
    size_t count = split_fields(head, fields);

    if (count > MAX_FIELDS)
        return 0;
    put_start(&packet, start);
    put_fields(&packet, fields, count);
    put_var(&packet, SKY_TEXT("SERVER_PORT"), uwsgi->server_port);
    put_var(&packet, SKY_TEXT("REMOTE_ADDR"), uwsgi->remote_addr);
    put_var(&packet, SKY_TEXT("REMOTE_PORT"), uwsgi->remote_port);
    put_var(&packet, SKY_TEXT("REQUEST_SCHEME"),
            uwsgi->https ? SKY_TEXT("https") : SKY_TEXT("http"));
    if (uwsgi->https)
        put_var(&packet, SKY_TEXT("HTTPS"), SKY_TEXT("on"));
    put_var(&packet, SKY_TEXT("DOCUMENT_ROOT"), sky_text(NULL, 0));

    size_t block = (size_t)(packet.at - dst) - SKY_UWSGI_HEADER_BYTES;
    if (block > SKY_UWSGI_BLOCK_MAX_BYTES)
        return 0;
    dst[0] = 0;
    put_16(dst + 1, block);
    dst[3] = 0;
    return SKY_UWSGI_HEADER_BYTES + block;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Decoder of the chunked transfer coding: one state a byte of framing, data in whole pieces.
 *
 * What other decoders take and this one refuses, since two readers of one stream must agree on
 * where a message ends: bare LF, `0x`, signs, `_`, blanks around the size, anything after the size
 * that is no extension, sizes past 64 bits, lines of a trailer that are no fields. */
#include "proxy/http/chunked.h"

#include "proxy/http/http1_chars.h"

enum state {
    /*  size [ext] CRLF data CRLF ... 0 [ext] CRLF [trailer fields] CRLF */
    STATE_SIZE,           /* zero: the initial state */
    STATE_EXT_BLANK,      /* blanks before `;` */
    STATE_EXT_NAME_START, /* after `;`: blanks, then the name */
    STATE_EXT_NAME,
    STATE_EXT_NAME_BLANK,  /* blanks between the name and `=` or `;` */
    STATE_EXT_VALUE_START, /* after `=`: blanks, then a token or a quoted string */
    STATE_EXT_VALUE,
    STATE_EXT_QUOTED,
    STATE_EXT_ESCAPED,    /* after a backslash in a quoted string */
    STATE_EXT_QUOTED_END, /* after the closing quote */
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER_START,
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF,
    STATE_DONE,
    STATE_ERROR
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static uint64_t hex_value(char byte)
{
    return byte <= '9' ? (uint64_t)(byte - '0') : (uint64_t)((byte | 0x20) - 'a' + 10);
}

/* What may follow the size, or a complete extension. */
static enum state end_extension(char byte)
{
    switch (byte) {
    case '\r':
        return STATE_SIZE_LF;
    case ';':
        return STATE_EXT_NAME_START;
    default:
        return is_blank(byte) ? STATE_EXT_BLANK : STATE_ERROR;
    }
}

static enum state step_size(struct sky_chunked *chunked, char byte)
{
    if (sky_http1_is(byte, SKY_HTTP1_HEX)) {
        if (++chunked->line_bytes > 16)
            return STATE_ERROR;
        chunked->left = chunked->left << 4 | hex_value(byte);
        return STATE_SIZE;
    }
    if (chunked->line_bytes == 0)
        return STATE_ERROR;
    chunked->line_bytes = 1;
    return end_extension(byte);
}

/* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static enum state step_extension(struct sky_chunked *chunked, char byte)
{
    bool token = sky_http1_is(byte, SKY_HTTP1_TOKEN);

    if (byte != '\r' && (++chunked->line_bytes > SKY_CHUNKED_EXTENSION_MAX ||
                         ++chunked->excess_bytes > SKY_CHUNKED_EXCESS_MAX))
        return STATE_ERROR;
    switch ((enum state)chunked->state) {
    case STATE_EXT_BLANK:
        return byte == ';' ? STATE_EXT_NAME_START : is_blank(byte) ? STATE_EXT_BLANK : STATE_ERROR;
    case STATE_EXT_NAME_START:
        return token ? STATE_EXT_NAME : is_blank(byte) ? STATE_EXT_NAME_START : STATE_ERROR;
    case STATE_EXT_NAME:
        if (token)
            return STATE_EXT_NAME;
        if (is_blank(byte))
            return STATE_EXT_NAME_BLANK;
        return byte == '=' ? STATE_EXT_VALUE_START : end_extension(byte);
    case STATE_EXT_NAME_BLANK:
        if (is_blank(byte))
            return STATE_EXT_NAME_BLANK;
        if (byte == '=')
            return STATE_EXT_VALUE_START;
        return byte == ';' ? STATE_EXT_NAME_START : STATE_ERROR;
    case STATE_EXT_VALUE_START:
        if (byte == '"')
            return STATE_EXT_QUOTED;
        return token ? STATE_EXT_VALUE : is_blank(byte) ? STATE_EXT_VALUE_START : STATE_ERROR;
    case STATE_EXT_VALUE:
        return token ? STATE_EXT_VALUE : end_extension(byte);
    case STATE_EXT_QUOTED:
        if (byte == '"')
            return STATE_EXT_QUOTED_END;
        if (byte == '\\')
            return STATE_EXT_ESCAPED;
        return sky_http1_is(byte, SKY_HTTP1_VALUE) ? STATE_EXT_QUOTED : STATE_ERROR;
    case STATE_EXT_ESCAPED:
        return sky_http1_is(byte, SKY_HTTP1_VALUE) ? STATE_EXT_QUOTED : STATE_ERROR;
    case STATE_EXT_QUOTED_END:
        return end_extension(byte);
    default:
        return STATE_ERROR;
    }
}

/* After the LF of a size line. */
static enum state begin_chunk(struct sky_chunked *chunked)
{
    chunked->line_bytes = 0;
    if (chunked->left == 0)
        return STATE_TRAILER_START;
    /* Extensions are welcome next to data: only what outweighs it is held against the sender. */
    uint64_t credit = chunked->left < SKY_CHUNKED_EXCESS_MAX ? chunked->left * 2 : UINT32_MAX;
    chunked->excess_bytes -=
        credit < chunked->excess_bytes ? (uint32_t)credit : chunked->excess_bytes;
    return STATE_DATA;
}

static enum state step_trailer(struct sky_chunked *chunked, char byte)
{
    if (++chunked->line_bytes > SKY_CHUNKED_TRAILER_MAX)
        return STATE_ERROR;
    switch ((enum state)chunked->state) {
    case STATE_TRAILER_START:
        if (byte == '\r')
            return STATE_END_LF;
        return sky_http1_is(byte, SKY_HTTP1_TOKEN) ? STATE_TRAILER_NAME : STATE_ERROR;
    case STATE_TRAILER_NAME:
        if (byte == ':')
            return STATE_TRAILER_VALUE;
        return sky_http1_is(byte, SKY_HTTP1_TOKEN) ? STATE_TRAILER_NAME : STATE_ERROR;
    case STATE_TRAILER_VALUE:
        if (byte == '\r')
            return STATE_TRAILER_LF;
        return sky_http1_is(byte, SKY_HTTP1_VALUE) ? STATE_TRAILER_VALUE : STATE_ERROR;
    case STATE_TRAILER_LF:
        return byte == '\n' ? STATE_TRAILER_START : STATE_ERROR;
    case STATE_END_LF:
        return byte == '\n' ? STATE_DONE : STATE_ERROR;
    default:
        return STATE_ERROR;
    }
}

static enum state step(struct sky_chunked *chunked, char byte)
{
    switch ((enum state)chunked->state) {
    case STATE_SIZE:
        return step_size(chunked, byte);
    case STATE_SIZE_LF:
        return byte == '\n' ? begin_chunk(chunked) : STATE_ERROR;
    case STATE_DATA_CR:
        return byte == '\r' ? STATE_DATA_LF : STATE_ERROR;
    case STATE_DATA_LF:
        return byte == '\n' ? STATE_SIZE : STATE_ERROR;
    case STATE_TRAILER_START:
    case STATE_TRAILER_NAME:
    case STATE_TRAILER_VALUE:
    case STATE_TRAILER_LF:
    case STATE_END_LF:
        return step_trailer(chunked, byte);
    default:
        return step_extension(chunked, byte);
    }
}

static struct sky_text take_data(struct sky_chunked *chunked, struct sky_text *input)
{
    struct sky_text data = *input;

    if (data.len > chunked->left)
        data.len = (size_t)chunked->left;
    input->base += data.len;
    input->len -= data.len;
    chunked->left -= data.len;
    if (chunked->left == 0)
        chunked->state = STATE_DATA_CR;
    return data;
}

enum sky_chunked_result sky_chunked_next(struct sky_chunked *chunked, struct sky_text *input,
                                         struct sky_text *data)
{
    while (chunked->state != STATE_DONE && chunked->state != STATE_ERROR) {
        if (input->len == 0)
            return SKY_CHUNKED_MORE;
        if (chunked->state == STATE_DATA) {
            *data = take_data(chunked, input);
            return SKY_CHUNKED_DATA;
        }
        chunked->state = (uint8_t)step(chunked, *input->base);
        input->base++;
        input->len--;
    }
    return chunked->state == STATE_DONE ? SKY_CHUNKED_DONE : SKY_CHUNKED_ERROR;
}

uint64_t sky_chunked_announced(const struct sky_chunked *chunked)
{
    return chunked->state == STATE_DATA ? chunked->left : 0;
}

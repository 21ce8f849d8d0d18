/* SPDX-License-Identifier: Apache-2.0 */
/* Check of a configured text's characters. */
#include "proxy/config/config_chars.h"

#include <stddef.h>

#include "propagation/utf8.h"

const char *sky_config_check_chars(const char *text)
{
    static const char *const refused[] = {
        "\xe2\x80\xa8", "\xe2\x80\xa9",                /* U+2028, U+2029: line separators */
        "\xef\xbb\xbf", "\xef\xbf\xbe", "\xef\xbf\xbf" /* U+FEFF, U+FFFE, U+FFFF */
    };
    if (!sky_utf8_valid(sky_text_of(text)))
        return "is no UTF-8";
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at, next = (unsigned char)at[1];
        /* U+0080 to U+009F are controls too */
        if (byte < 0x20 || byte == 0x7f || (byte == 0xc2 && next < 0xa0))
            return "holds a control character";
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (strstr(text, refused[i]) != NULL)
            return "holds a control character";
    }
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Only sound elements go on: the Python agent raises into the user's request on bad base64. */
#include "propagation/sw8_correlation.h"

#include <stdbool.h>

#include "propagation/base64.h"
#include "propagation/utf8.h"

/* Blanks around the elements of a list are no part of them (RFC 9110, 5.6.1). */
static struct sky_text without_blanks(const char *start, const char *end)
{
    while (start != end && (*start == ' ' || *start == '\t'))
        ++start;
    while (start != end && (end[-1] == ' ' || end[-1] == '\t'))
        --end;
    return sky_text(start, (size_t)(end - start));
}

/* Length of the decoded text, or -1 when it is none; scratch holds at least encoded.len bytes. */
static ssize_t text_length(struct sky_text encoded, char *scratch)
{
    ssize_t len = sky_base64_decode(scratch, encoded);

    return len >= 0 && sky_utf8_valid(sky_text(scratch, (size_t)len)) ? len : -1;
}

/* A second colon is no base64, so what follows the first one fails with it. */
static bool is_sound(struct sky_text element, char *scratch)
{
    const char *colon = element.len != 0 ? memchr(element.base, ':', element.len) : NULL;
    struct sky_text key, value;
    ssize_t value_bytes;

    if (colon == NULL)
        return false;
    key = sky_text(element.base, (size_t)(colon - element.base));
    value = sky_text(colon + 1, element.len - key.len - 1);
    if (text_length(key, scratch) <= 0)
        return false;
    value_bytes = text_length(value, scratch);
    return value_bytes >= 0 && value_bytes <= SKY_CORRELATION_MAX_VALUE_BYTES;
}

size_t sky_correlation_clean(struct sky_text value, char *dst)
{
    const char *start = value.base, *end = value.base + value.len;
    size_t written = 0, count = 0;

    while (start != end && count < SKY_CORRELATION_MAX_ELEMENTS) {
        const char *comma = memchr(start, ',', (size_t)(end - start));
        struct sky_text element = without_blanks(start, comma != NULL ? comma : end);
        /* What is written so far is shorter than what is read, so dst has room to decode the
         * element behind it, and then for the element itself. */
        if (is_sound(element, dst + written)) {
            if (count++ != 0)
                dst[written++] = ',';
            memcpy(dst + written, element.base, element.len);
            written += element.len;
        }
        start = comma != NULL ? comma + 1 : end;
    }
    return written;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Answer heads: any bytes in one piece and byte by byte give the same verdict, and what is taken
 * keeps the parser's promises. First byte: whether the request was HEAD. */
#include "proxy/back/http1_answer.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static bool lies_in(struct sky_text part, struct sky_text whole)
{
    return part.len == 0 ||
           (part.base >= whole.base && part.base + part.len <= whole.base + whole.len);
}

static void check(const struct sky_answer *answer, struct sky_text input)
{
    struct sky_text head = sky_text(input.base, answer->head_bytes);

    require(answer->head_bytes <= input.len && answer->head_bytes <= SKY_ANSWER_MAX_BYTES);
    require(memcmp(head.base + head.len - 4, "\r\n\r\n", 4) == 0);
    require(answer->status >= 100 && answer->status <= 999);
    require(lies_in(answer->reason, head) && lies_in(answer->stitch, head));
    require(answer->field_count <= SKY_ANSWER_MAX_FIELDS);
    for (size_t i = 0; i < answer->field_count; ++i) {
        const struct sky_answer_field *field = &answer->fields[i];
        require(field->name.len != 0 && lies_in(field->name, head) && lies_in(field->value, head));
        require(memchr(field->value.base, '\r', field->value.len) == NULL);
        require(memchr(field->value.base, '\n', field->value.len) == NULL);
        require(memchr(field->value.base, '\0', field->value.len) == NULL);
        require(!sky_text_equal_nocase(field->name, SKY_TEXT("connection")));
        require(!sky_text_equal_nocase(field->name, SKY_TEXT("content-length")));
        require(!sky_text_equal_nocase(field->name, SKY_TEXT("transfer-encoding")));
        require(!sky_text_equal_nocase(field->name, SKY_TEXT("sw8-stitch")));
    }
    require(answer->framing != SKY_ANSWER_CLOSE || !answer->keep_alive);
    require(answer->framing != SKY_ANSWER_LENGTH ||
            (answer->content_length != 0 && answer->content_length != SKY_ANSWER_NO_LENGTH));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct sky_answer whole, pieces;
    struct sky_answer_scan scan = {0}, slow_scan = {0};
    const char *defect = NULL, *slow_defect = NULL;

    if (size == 0)
        return 0;
    bool head_request = (bytes[0] & 1) != 0;
    struct sky_text input = sky_text((const char *)bytes + 1, size - 1);
    enum sky_answer_result result = sky_answer_parse(input, head_request, &scan, &whole, &defect);
    enum sky_answer_result slow = SKY_ANSWER_MORE;
    for (size_t len = 1; len <= input.len && slow == SKY_ANSWER_MORE; ++len)
        slow = sky_answer_parse(sky_text(input.base, len), head_request, &slow_scan, &pieces,
                                &slow_defect);
    require(result == slow);
    if (result == SKY_ANSWER_DONE) {
        check(&whole, input);
        require(memcmp(&whole, &pieces, offsetof(struct sky_answer, fields)) == 0);
    }
    return 0;
}

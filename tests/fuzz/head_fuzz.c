/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: the verdict does not depend on how the bytes are cut, and what is accepted is
 * sound. */
#include "proxy/front/http1_head.h"

#include <stdlib.h>

#include "proxy/http/http1_chars.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define FIELDS 12

static const struct sky_head_limits limits = {200, 600, FIELDS};

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void check_text(struct sky_text text, struct sky_text within, enum sky_http1_class class)
{
    if (text.len == 0)
        return;
    expect(text.base >= within.base && text.base + text.len <= within.base + within.len);
    for (size_t i = 0; i < text.len; i++)
        expect(sky_http1_is(text.base[i], class));
}

/* What the app behind must never see twice, or differently. */
static void check_accepted(const struct sky_head *head, struct sky_text within)
{
    expect(head->method.len != 0);
    check_text(head->method, within, SKY_HTTP1_TOKEN);
    check_text(head->target, within, SKY_HTTP1_TARGET);
    check_text(head->authority, within, SKY_HTTP1_TARGET);
    expect(head->target_lacks_slash || head->target.base[0] == '/' || head->target.base[0] == '*');
    expect(!head->chunked || (!head->has_length && head->http11));
    expect(head->has_length || head->content_length == 0);
    expect(head->content_length <= INT64_MAX);
    expect(head->field_count + head->dropped_count <= FIELDS);
    for (size_t i = 0; i < head->field_count; i++) {
        struct sky_text name = head->fields[i].name;
        expect(name.len != 0 && memchr(name.base, '_', name.len) == NULL);
        expect(!sky_text_equal_nocase(name, SKY_TEXT("host")));
        expect(!sky_text_equal_nocase(name, SKY_TEXT("content-length")));
        expect(!sky_text_equal_nocase(name, SKY_TEXT("transfer-encoding")));
        check_text(name, within, SKY_HTTP1_TOKEN);
        check_text(head->fields[i].value, within, SKY_HTTP1_VALUE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct sky_text input = sky_text((const char *)bytes, size);
    struct sky_head_scan at_once = {0}, slow = {0};
    struct sky_head_field fields[FIELDS];
    struct sky_head head = {.fields = fields};
    enum sky_head_result whole = sky_head_scan(&at_once, &limits, input), cut = SKY_HEAD_MORE;

    for (size_t i = 0; i <= size && cut == SKY_HEAD_MORE; i++)
        cut = sky_head_scan(&slow, &limits, sky_text(input.base, i));
    expect(whole == cut && at_once.refusal == slow.refusal);
    if (whole != SKY_HEAD_WHOLE)
        return 0;
    expect(at_once.begin == slow.begin && at_once.end == slow.end && at_once.end <= size);
    struct sky_text text = sky_text(input.base + at_once.begin, at_once.end - at_once.begin);
    if (sky_head_parse(text, &head) == SKY_REFUSAL_none)
        check_accepted(&head, text);
    return 0;
}

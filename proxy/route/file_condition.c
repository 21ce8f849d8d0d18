/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/file_condition.h"

#include <h2o.h>

#include "proxy/http/field_text.h"

/* Our tags hold no comma, so a foreign one that is cut in two is no match either way. */
static bool lists_tag(struct sky_text list, struct sky_text etag, bool weak)
{
    if (sky_text_equal(sky_field_trim(list), SKY_TEXT("*")))
        return true;
    while (list.len != 0) {
        struct sky_text tag = sky_field_cut(&list, ',');
        if (weak && sky_text_starts(tag, SKY_TEXT("W/")))
            tag = sky_text(tag.base + 2, tag.len - 2);
        if (sky_text_equal(tag, etag))
            return true;
    }
    return false;
}

/* Dates that are no IMF-fixdate are ignored, as RFC 9110, 13.1.3 wants of what is invalid. */
static bool parse_date(struct sky_text text, time_t *date)
{
    struct tm tm = {0};

    text = sky_field_trim(text);
    if (h2o_time_parse_rfc1123(text.base, text.len, &tm) != 0)
        return false;
    *date = timegm(&tm);
    return true;
}

static bool parse_number(struct sky_text digits, uint64_t *number)
{
    if (digits.len == 0 || digits.len > 18)
        return false;
    *number = 0;
    for (size_t i = 0; i < digits.len; ++i) {
        if (digits.base[i] < '0' || digits.base[i] > '9')
            return false;
        *number = *number * 10 + (uint64_t)(digits.base[i] - '0');
    }
    return true;
}

/* One range of `bytes=`; what is malformed is as if it were not there (RFC 9110, 14.2). */
static enum sky_file_verdict judge_range(struct sky_text range, uint64_t size,
                                         struct sky_file_part *part)
{
    uint64_t first, last = 0;
    struct sky_text unit = sky_field_cut(&range, '=');

    if (!sky_text_equal_nocase(unit, SKY_TEXT("bytes")) || range.len == 0 ||
        memchr(range.base, ',', range.len) != NULL || memchr(range.base, '-', range.len) == NULL)
        return SKY_FILE_WHOLE;
    struct sky_text begin = sky_field_cut(&range, '-'), end = sky_field_trim(range);
    if (end.len != 0 && !parse_number(end, &last))
        return SKY_FILE_WHOLE;
    if (begin.len == 0) { /* the last bytes */
        if (end.len == 0)
            return SKY_FILE_WHOLE;
        if (last == 0 || size == 0)
            return SKY_FILE_UNSATISFIABLE;
        last = last < size ? last : size;
        *part = (struct sky_file_part){size - last, last};
        return SKY_FILE_PART;
    }
    if (!parse_number(begin, &first) || (end.len != 0 && last < first))
        return SKY_FILE_WHOLE;
    if (first >= size)
        return SKY_FILE_UNSATISFIABLE;
    if (end.len == 0 || last >= size)
        last = size - 1;
    *part = (struct sky_file_part){first, last - first + 1};
    return SKY_FILE_PART;
}

/* RFC 9110, 13.1.5: a tag, or a date that must be the very one. */
static bool range_applies(struct sky_text if_range, const struct sky_file_state *state)
{
    time_t date;

    if (if_range.len == 0 || sky_text_equal(sky_field_trim(if_range), state->etag))
        return true;
    return parse_date(if_range, &date) && date == state->modified;
}

/* The order of RFC 9110, 13.2.2. */
enum sky_file_verdict sky_file_judge(const struct sky_file_wishes *wishes,
                                     const struct sky_file_state *state, struct sky_file_part *part)
{
    time_t date;

    *part = (struct sky_file_part){0, state->size};
    if (wishes->if_match.len != 0) {
        if (!lists_tag(wishes->if_match, state->etag, false))
            return SKY_FILE_FAILED;
    } else if (wishes->if_unmodified_since.len != 0 &&
               parse_date(wishes->if_unmodified_since, &date) && state->modified > date) {
        return SKY_FILE_FAILED;
    }
    if (wishes->if_none_match.len != 0) {
        if (lists_tag(wishes->if_none_match, state->etag, true))
            return SKY_FILE_UNCHANGED;
    } else if (wishes->if_modified_since.len != 0 && parse_date(wishes->if_modified_since, &date) &&
               state->modified <= date) {
        return SKY_FILE_UNCHANGED;
    }
    if (wishes->range.len == 0 || !range_applies(wishes->if_range, state))
        return SKY_FILE_WHOLE;
    return judge_range(wishes->range, state->size, part);
}

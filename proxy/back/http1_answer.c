/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/back/http1_answer.h"

#include "proxy/http/field_text.h"
#include "proxy/http/http1_chars.h"

#define LENGTH_MAX (INT64_MAX / 16) /* of a body: no sum of such sizes overflows */

/* What is needed of the fields that do not reach the client. */
struct control {
    bool http10;
    bool has_length, has_chunked;
    bool close, keep_alive;
    struct sky_text nominated[SKY_ANSWER_MAX_NOMINATED];
    size_t nominated_count;
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Cuts the next element off a comma-separated list; empty ones come out empty. */
static bool next_element(struct sky_text *list, struct sky_text *element)
{
    if (list->base == NULL)
        return false;
    const char *comma = memchr(list->base, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->base) : list->len;
    *element = sky_field_trim(sky_text(list->base, len));
    *list = comma != NULL ? sky_text(comma + 1, list->len - len - 1) : sky_text(NULL, 0);
    return true;
}

/* All bytes may stand in a field value. Eight at a time: values are most of a head. */
static bool is_value(struct sky_text text)
{
    const uint64_t ones = UINT64_MAX / 255, highs = ones * 0x80;
    size_t i = 0;

    for (uint64_t word; i + sizeof(word) <= text.len; i += sizeof(word)) {
        memcpy(&word, text.base + i, sizeof(word));
        uint64_t del = word ^ ones * 0x7f;
        if ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & highs)
            break; /* a control character, may be HTAB */
    }
    for (; i < text.len; ++i)
        if (!sky_http1_is(text.base[i], SKY_HTTP1_VALUE))
            return false;
    return true;
}

/* Content-Length = 1*DIGIT, or a list of one and the same number (RFC 9112, 6.3). */
static const char *read_length(struct sky_text value, struct sky_answer *answer,
                               struct control *control)
{
    struct sky_text element;

    while (next_element(&value, &element)) {
        uint64_t length = 0;
        if (element.len == 0)
            return "bad Content-Length";
        for (size_t i = 0; i < element.len; ++i) {
            if (!sky_http1_is(element.base[i], SKY_HTTP1_DIGIT))
                return "bad Content-Length";
            length = length * 10 + (uint64_t)(element.base[i] - '0');
            if (length > LENGTH_MAX)
                return "bad Content-Length";
        }
        if (control->has_length && length != answer->content_length)
            return "differing Content-Length";
        control->has_length = true;
        answer->content_length = length;
    }
    return NULL;
}

static const char *read_coding(struct sky_text value, struct control *control)
{
    if (control->has_chunked || !sky_text_equal_nocase(value, SKY_TEXT("chunked")))
        return "Transfer-Encoding other than chunked";
    control->has_chunked = true;
    return NULL;
}

static const char *read_connection(struct sky_text value, struct control *control)
{
    struct sky_text element;

    while (next_element(&value, &element)) {
        if (sky_text_equal_nocase(element, SKY_TEXT("close"))) {
            control->close = true;
        } else if (sky_text_equal_nocase(element, SKY_TEXT("keep-alive"))) {
            control->keep_alive = true;
        } else if (element.len != 0) {
            if (control->nominated_count == SKY_ANSWER_MAX_NOMINATED)
                return "too many names in Connection";
            control->nominated[control->nominated_count++] = element;
        }
    }
    return NULL;
}

/* Fields of the connection without a meaning here (RFC 9110, 7.6.1). */
static bool is_hop_by_hop(struct sky_text name)
{
    switch (name.len) {
    case 2:
        return sky_text_equal_nocase(name, SKY_TEXT("te"));
    case 7:
        return sky_text_equal_nocase(name, SKY_TEXT("trailer"));
    case 10:
        return sky_text_equal_nocase(name, SKY_TEXT("keep-alive"));
    case 16:
        return sky_text_equal_nocase(name, SKY_TEXT("proxy-connection"));
    default:
        return false;
    }
}

/* Fields of the helper's protocol; whatever begins like one is taken out. */
static bool take_stitch(struct sky_text name, struct sky_text value, struct sky_answer *answer)
{
    const struct sky_text stitch = SKY_TEXT("sw8-stitch"), data = SKY_TEXT("sw8-stitch-data");

    if (name.len < stitch.len || !sky_text_equal_nocase(sky_text(name.base, stitch.len), stitch))
        return false;
    if (name.len == stitch.len && answer->stitch_count++ == 0)
        answer->stitch = value;
    if (sky_text_equal_nocase(name, data) && answer->stitch_data_count++ == 0)
        answer->stitch_data = value;
    return true;
}

static const char *take_field(struct sky_text name, struct sky_text value,
                              struct sky_answer *answer, struct control *control)
{
    if (name.len == 14 && sky_text_equal_nocase(name, SKY_TEXT("content-length")))
        return read_length(value, answer, control);
    if (name.len == 17 && sky_text_equal_nocase(name, SKY_TEXT("transfer-encoding")))
        return read_coding(value, control);
    if (name.len == 10 && sky_text_equal_nocase(name, SKY_TEXT("connection")))
        return read_connection(value, control);
    if (name.len == 7 && sky_text_equal_nocase(name, SKY_TEXT("upgrade"))) {
        answer->upgrade = value;
        return NULL;
    }
    if (is_hop_by_hop(name) || take_stitch(name, value, answer))
        return NULL;
    if (answer->field_count == SKY_ANSWER_MAX_FIELDS)
        return "too many fields";
    answer->fields[answer->field_count++] = (struct sky_answer_field){name, value};
    return NULL;
}

/* One line, its CRLF left out: name *BLANK ":" OWS value OWS. A blank before the colon is to be
 * removed by a proxy (RFC 9112, 5.1); a folded line begins with one and has no name (5.2). */
static const char *read_field(struct sky_text line, struct sky_answer *answer,
                              struct control *control)
{
    size_t i = 0;

    while (i < line.len && sky_http1_is(line.base[i], SKY_HTTP1_TOKEN))
        ++i;
    struct sky_text name = sky_text(line.base, i);
    while (i < line.len && is_blank(line.base[i]))
        ++i;
    if (name.len == 0 || i == line.len || line.base[i] != ':')
        return "bad field name";
    struct sky_text value = sky_field_trim(sky_text(line.base + i + 1, line.len - i - 1));
    if (!is_value(value))
        return "bad field value";
    return take_field(name, value, answer, control);
}

/* "HTTP/1." DIGIT SP 3DIGIT [ SP reason ]: the blank is missing from some apps' lines. */
static const char *read_status_line(struct sky_text line, struct sky_answer *answer,
                                    struct control *control)
{
    const char *p = line.base;

    if (line.len < 12 || !sky_text_starts(line, SKY_TEXT("HTTP/1.")) ||
        !sky_http1_is(p[7], SKY_HTTP1_DIGIT) || p[8] != ' ')
        return "bad status line";
    control->http10 = p[7] == '0';
    for (int i = 9; i < 12; ++i)
        if (!sky_http1_is(p[i], SKY_HTTP1_DIGIT))
            return "bad status line";
    answer->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    if (answer->status < 100 || (line.len > 12 && p[12] != ' '))
        return "bad status line";
    answer->reason = line.len > 13 ? sky_text(p + 13, line.len - 13) : sky_text(p + 12, 0);
    return is_value(answer->reason) ? NULL : "bad status line";
}

static void drop_nominated(struct sky_answer *answer, const struct control *control)
{
    size_t kept = 0;

    for (size_t i = 0; i < answer->field_count; ++i) {
        bool named = false;
        for (size_t k = 0; k < control->nominated_count && !named; ++k)
            named = sky_text_equal_nocase(answer->fields[i].name, control->nominated[k]);
        if (!named)
            answer->fields[kept++] = answer->fields[i];
    }
    answer->field_count = kept;
}

static const char *settle_framing(struct sky_answer *answer, const struct control *control,
                                  bool head_request)
{
    bool bodiless =
        head_request || answer->status < 200 || answer->status == 204 || answer->status == 304;

    if (control->has_chunked && control->has_length)
        return "both Content-Length and Transfer-Encoding";
    if (control->has_chunked && control->http10)
        return "Transfer-Encoding in HTTP/1.0";
    answer->keep_alive = !control->close && (!control->http10 || control->keep_alive);
    if (bodiless || (control->has_length && answer->content_length == 0)) {
        answer->framing = SKY_ANSWER_EMPTY;
        /* Apps do send the body of a HEAD or 304: it would be taken for the next answer. */
        if (control->has_chunked || (control->has_length && answer->content_length != 0) ||
            (head_request && !control->has_length))
            answer->keep_alive = false;
    } else if (control->has_chunked) {
        answer->framing = SKY_ANSWER_CHUNKED;
    } else if (control->has_length) {
        answer->framing = SKY_ANSWER_LENGTH;
    } else {
        answer->framing = SKY_ANSWER_CLOSE;
        answer->keep_alive = false;
    }
    return NULL;
}

/* Every line of `head` ends in CRLF, the last one is empty. */
static const char *parse_head(struct sky_text head, bool head_request, struct sky_answer *answer)
{
    struct control control;
    const char *defect = NULL;
    bool first = true;

    memset(&control, 0, offsetof(struct control, nominated));
    control.nominated_count = 0;
    memset(answer, 0, offsetof(struct sky_answer, fields));
    answer->head_bytes = head.len;
    answer->content_length = SKY_ANSWER_NO_LENGTH;
    while (head.len > 2 && defect == NULL) {
        const char *lf = memchr(head.base, '\n', head.len);
        struct sky_text line = sky_text(head.base, (size_t)(lf - head.base) - 1);
        defect =
            first ? read_status_line(line, answer, &control) : read_field(line, answer, &control);
        first = false;
        head = sky_text(lf + 1, head.len - line.len - 2);
    }
    if (defect == NULL)
        defect = first ? "no status line" : settle_framing(answer, &control, head_request);
    if (defect == NULL && control.nominated_count != 0)
        drop_nominated(answer, &control);
    return defect;
}

/* Looks for the empty line that ends the head; refuses what can no longer become one. */
static enum sky_answer_result find_end(struct sky_text bytes, struct sky_answer_scan *scan,
                                       size_t *end, const char **defect)
{
    const struct sky_text start = SKY_TEXT("HTTP/1.");
    size_t seen = bytes.len < start.len ? bytes.len : start.len;
    const char *lf;

    if (scan->at < start.len && seen != 0 && memcmp(bytes.base, start.base, seen) != 0) {
        *defect = "no status line";
        return SKY_ANSWER_ERROR;
    }
    while (scan->at < bytes.len &&
           (lf = memchr(bytes.base + scan->at, '\n', bytes.len - scan->at)) != NULL) {
        size_t at = (size_t)(lf - bytes.base);
        if (bytes.base[at - 1] != '\r') { /* at is not 0: the first byte is H */
            *defect = "line without CRLF";
            return SKY_ANSWER_ERROR;
        }
        *end = at + 1;
        if (at - 1 == scan->line)
            return SKY_ANSWER_DONE;
        scan->line = scan->at = at + 1;
    }
    scan->at = bytes.len;
    return SKY_ANSWER_MORE;
}

enum sky_answer_result sky_answer_parse(struct sky_text bytes, bool head_request,
                                        struct sky_answer_scan *scan, struct sky_answer *answer,
                                        const char **defect)
{
    size_t end = 0;
    enum sky_answer_result result = find_end(bytes, scan, &end, defect);

    if (result == SKY_ANSWER_ERROR)
        return result;
    if ((result == SKY_ANSWER_MORE ? bytes.len : end) > SKY_ANSWER_MAX_BYTES) {
        *defect = "head too large";
        return SKY_ANSWER_ERROR;
    }
    if (result == SKY_ANSWER_MORE)
        return result;
    *defect = parse_head(sky_text(bytes.base, end), head_request, answer);
    return *defect == NULL ? SKY_ANSWER_DONE : SKY_ANSWER_ERROR;
}

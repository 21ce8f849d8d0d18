/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1 request, in two steps: the scan finds lines as bytes come in, the parse
 * takes a whole head apart in one pass.
 *
 * Both are ours, not libh2o's phr_parse_request: every byte has to be looked at anyway, since that
 * takes bare LF, folding, and methods and field names that are no tokens; and only a parser of our
 * own can say what was wrong. */
#include "proxy/front/http1_head.h"

#include "proxy/http/field_text.h"
#include "proxy/http/http1_chars.h"

static enum sky_head_result refuse(struct sky_head_scan *scan, enum sky_refusal refusal)
{
    scan->refusal = refusal;
    return SKY_HEAD_REFUSED;
}

/* Whether the head still fits, `size` bytes long so far. The line under way goes up to there. */
static enum sky_refusal check_size(const struct sky_head_scan *scan,
                                   const struct sky_head_limits *limits, size_t size)
{
    if (scan->line_count == 0)
        return size - scan->begin > limits->request_line_bytes ? SKY_REFUSAL_request_line_size
                                                               : SKY_REFUSAL_none;
    return size > limits->head_bytes ? SKY_REFUSAL_head_size : SKY_REFUSAL_none;
}

/* The line under way, of which `lf` is the last byte. Sizes come first: with the line's end not yet
 * there they would have been found first, too. */
static enum sky_refusal check_line(const struct sky_head_scan *scan,
                                   const struct sky_head_limits *limits, struct sky_text input,
                                   size_t lf)
{
    char first = input.base[scan->line_start];
    bool crlf = lf > scan->line_start && input.base[lf - 1] == '\r';
    bool empty = lf == scan->line_start + 1;
    enum sky_refusal refusal = check_size(scan, limits, scan->line_count == 0 ? lf - crlf : lf + 1);

    if (refusal != SKY_REFUSAL_none)
        return refusal;
    if (!crlf)
        return SKY_REFUSAL_bare_lf;
    if (first == ' ' || first == '\t')
        return SKY_REFUSAL_folding;
    return !empty && scan->line_count > limits->field_count ? SKY_REFUSAL_field_count
                                                            : SKY_REFUSAL_none;
}

/* What is no HTTP at all (TLS, say) is refused by its first byte: no line end may ever come. */
static enum sky_head_result check_first_byte(struct sky_head_scan *scan, struct sky_text input)
{
    if (input.base[0] == '\r') {
        if (input.len < 2)
            return SKY_HEAD_MORE;
        if (input.base[1] != '\n')
            return refuse(scan, SKY_REFUSAL_not_http);
        scan->begin = scan->scanned = scan->line_start = 2;
    }
    if (input.len > scan->begin && !sky_http1_is(input.base[scan->begin], SKY_HTTP1_TOKEN))
        return refuse(scan, SKY_REFUSAL_not_http);
    return SKY_HEAD_WHOLE;
}

enum sky_head_result sky_head_scan(struct sky_head_scan *scan, const struct sky_head_limits *limits,
                                   struct sky_text input)
{
    enum sky_refusal refusal;

    if (scan->scanned <= 2 && input.len != 0) {
        enum sky_head_result first = check_first_byte(scan, input);
        if (first != SKY_HEAD_WHOLE)
            return first;
    }
    while (scan->scanned < input.len) {
        const char *from = input.base + scan->scanned;
        const char *found = memchr(from, '\n', input.len - scan->scanned);
        if (found == NULL)
            break;
        size_t lf = (size_t)(found - input.base);
        if ((refusal = check_line(scan, limits, input, lf)) != SKY_REFUSAL_none)
            return refuse(scan, refusal);
        scan->scanned = lf + 1;
        if (lf == scan->line_start + 1) {
            scan->end = lf + 1;
            return SKY_HEAD_WHOLE;
        }
        scan->line_start = lf + 1;
        scan->line_count++;
    }
    scan->scanned = input.len;
    /* A CR at the end is not yet part of the line, nor known to be in it. */
    size_t size = input.len - (input.len > scan->line_start && input.base[input.len - 1] == '\r');
    if ((refusal = check_size(scan, limits, size)) != SKY_REFUSAL_none)
        return refuse(scan, refusal);
    return SKY_HEAD_MORE;
}

/* ---- the parse ---- */

/* Cuts off what stands before `mark`, which goes, too. Without a mark: everything. */
static struct sky_text cut(struct sky_text *text, char mark)
{
    const char *found = memchr(text->base, mark, text->len);
    struct sky_text head = *text;

    if (found == NULL) {
        *text = sky_text(text->base + text->len, 0);
        return head;
    }
    head.len = (size_t)(found - text->base);
    *text = sky_text(found + 1, text->len - head.len - 1);
    return head;
}

static bool all(struct sky_text text, enum sky_http1_class class)
{
    for (size_t i = 0; i < text.len; i++)
        if (!sky_http1_is(text.base[i], class))
            return false;
    return true;
}

/* uri-host [ ":" port ] (RFC 9110, 7.2). */
bool sky_head_is_host(struct sky_text host)
{
    size_t i = 0;

    if (host.len != 0 && host.base[0] == '[') {
        for (i = 1; i < host.len && host.base[i] != ']'; i++)
            if (host.base[i] != ':' && !sky_http1_is(host.base[i], SKY_HTTP1_HOST))
                return false;
        if (i == 1 || i == host.len)
            return false;
        i++;
    } else {
        while (i < host.len && sky_http1_is(host.base[i], SKY_HTTP1_HOST))
            i++;
    }
    if (i == host.len)
        return true;
    return i != 0 && host.base[i] == ':' &&
           all(sky_text(host.base + i + 1, host.len - i - 1), SKY_HTTP1_DIGIT);
}

/* http://host[:port][/path][?query] (RFC 9112, 3.2.2): its authority beats the Host field. */
static enum sky_refusal parse_absolute_form(struct sky_head *head)
{
    struct sky_text rest = head->target;
    struct sky_text scheme = cut(&rest, ':');

    if ((!sky_text_equal_nocase(scheme, SKY_TEXT("http")) &&
         !sky_text_equal_nocase(scheme, SKY_TEXT("https"))) ||
        !sky_text_starts(rest, SKY_TEXT("//")))
        return SKY_REFUSAL_target;
    rest = sky_text(rest.base + 2, rest.len - 2);
    size_t len = 0;
    while (len < rest.len && rest.base[len] != '/' && rest.base[len] != '?')
        len++;
    head->authority = sky_text(rest.base, len);
    if (len == 0 || !sky_head_is_host(head->authority))
        return SKY_REFUSAL_target;
    head->target = sky_text(rest.base + len, rest.len - len);
    head->target_lacks_slash = head->target.len == 0 || head->target.base[0] == '?';
    return SKY_REFUSAL_none;
}

static enum sky_refusal parse_target(struct sky_head *head)
{
    if (head->target.len == 0 || !all(head->target, SKY_HTTP1_TARGET))
        return SKY_REFUSAL_target;
    if (head->target.base[0] == '/')
        return SKY_REFUSAL_none;
    if (sky_text_equal(head->target, SKY_TEXT("*")))
        return sky_text_equal(head->method, SKY_TEXT("OPTIONS")) ? SKY_REFUSAL_none
                                                                 : SKY_REFUSAL_target;
    return parse_absolute_form(head);
}

static enum sky_refusal parse_version(struct sky_text version, bool *http11)
{
    *http11 = sky_text_equal(version, SKY_TEXT("HTTP/1.1"));
    if (*http11 || sky_text_equal(version, SKY_TEXT("HTTP/1.0")))
        return SKY_REFUSAL_none;
    bool other = version.len == 8 && sky_text_starts(version, SKY_TEXT("HTTP/")) &&
                 sky_http1_is(version.base[5], SKY_HTTP1_DIGIT) && version.base[6] == '.' &&
                 sky_http1_is(version.base[7], SKY_HTTP1_DIGIT);
    return other ? SKY_REFUSAL_version : SKY_REFUSAL_request_line;
}

static enum sky_refusal parse_request_line(struct sky_text line, struct sky_head *head)
{
    enum sky_refusal refusal;
    struct sky_text method = cut(&line, ' '), target = cut(&line, ' ');

    if (method.len == 0 || !all(method, SKY_HTTP1_TOKEN))
        return SKY_REFUSAL_method;
    if ((refusal = parse_version(line, &head->http11)) != SKY_REFUSAL_none)
        return refusal;
    if (sky_text_equal(method, SKY_TEXT("CONNECT")))
        return SKY_REFUSAL_connect;
    head->method = method;
    head->target = target;
    if ((refusal = parse_target(head)) != SKY_REFUSAL_none)
        head->method = head->target = sky_text(NULL, 0);
    return refusal;
}

/* Which of the fields that a request may have once was there. */
struct seen {
    bool host, length, coding, close;
    bool upgrade_named; /* in Connection */
    size_t upgrades;
};

static enum sky_refusal take_host(struct sky_head *head, struct sky_text value, struct seen *seen)
{
    if (seen->host)
        return SKY_REFUSAL_host_repeated;
    seen->host = true;
    if (!sky_head_is_host(value))
        return SKY_REFUSAL_host;
    if (head->authority.len == 0)
        head->authority = value;
    return SKY_REFUSAL_none;
}

static enum sky_refusal take_length(struct sky_head *head, struct sky_text value, struct seen *seen)
{
    if (seen->length)
        return SKY_REFUSAL_length_repeated;
    seen->length = head->has_length = true;
    if (value.len == 0)
        return SKY_REFUSAL_length;
    for (size_t i = 0; i < value.len; i++) {
        if (!sky_http1_is(value.base[i], SKY_HTTP1_DIGIT) || head->content_length > INT64_MAX / 10)
            return SKY_REFUSAL_length;
        head->content_length = head->content_length * 10 + (uint64_t)(value.base[i] - '0');
    }
    return head->content_length > INT64_MAX ? SKY_REFUSAL_length : SKY_REFUSAL_none;
}

static enum sky_refusal take_coding(struct sky_head *head, struct sky_text value, struct seen *seen)
{
    if (seen->coding)
        return SKY_REFUSAL_coding_repeated;
    seen->coding = head->chunked = true;
    if (!head->http11)
        return SKY_REFUSAL_coding_in_http10;
    return sky_text_equal_nocase(value, SKY_TEXT("chunked")) ? SKY_REFUSAL_none
                                                             : SKY_REFUSAL_coding;
}

static enum sky_refusal take_expect(struct sky_head *head, struct sky_text value)
{
    if (!sky_text_equal_nocase(value, SKY_TEXT("100-continue")))
        return SKY_REFUSAL_expectation;
    head->expects_continue = head->http11; /* RFC 9110, 10.1.1: none in HTTP/1.0 */
    return SKY_REFUSAL_none;
}

static void take_connection(struct sky_head *head, struct sky_text value, struct seen *seen)
{
    while (value.len != 0) {
        struct sky_text option = sky_field_trim(cut(&value, ','));
        if (sky_text_equal_nocase(option, SKY_TEXT("close")))
            seen->close = true;
        else if (sky_text_equal_nocase(option, SKY_TEXT("keep-alive")))
            head->keep_alive = true;
        else if (sky_text_equal_nocase(option, SKY_TEXT("upgrade")))
            seen->upgrade_named = true;
    }
}

/* What of Upgrade may be passed on: "token[/token]" of one or more protocols. h2c would make of the
 * tunnel a way round every check of requests. */
static bool is_upgrade(struct sky_text value)
{
    while (value.len != 0) {
        struct sky_text protocol = sky_field_trim(cut(&value, ','));
        struct sky_text rest = protocol, name = cut(&rest, '/');
        if (name.len == 0 || !all(name, SKY_HTTP1_TOKEN) || !all(rest, SKY_HTTP1_TOKEN) ||
            sky_text_equal_nocase(name, SKY_TEXT("h2c")) ||
            sky_text_equal_nocase(name, SKY_TEXT("http")) ||
            sky_text_equal_nocase(name, SKY_TEXT("tls")))
            return false;
    }
    return true;
}

static void settle_upgrade(struct sky_head *head, const struct seen *seen)
{
    bool body = head->chunked || (head->has_length && head->content_length != 0);

    if (!head->http11 || !seen->upgrade_named || seen->upgrades != 1 || body ||
        !is_upgrade(head->upgrade))
        head->upgrade = sky_text(NULL, 0);
}

/* Fields that the connection itself uses do not become fields of the request, but for Connection,
 * which names others that must not be passed on. */
static enum sky_refusal take_field(struct sky_head *head, struct sky_head_field field,
                                   struct seen *seen)
{
    switch (field.name.len) {
    case 4:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("host")))
            return take_host(head, field.value, seen);
        break;
    case 6:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("expect")))
            return take_expect(head, field.value);
        break;
    case 7:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("upgrade"))) {
            head->upgrade = field.value;
            seen->upgrades++;
            return SKY_REFUSAL_none;
        }
        break;
    case 10:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("connection")))
            take_connection(head, field.value, seen);
        break;
    case 14:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("content-length")))
            return take_length(head, field.value, seen);
        break;
    case 17:
        if (sky_text_equal_nocase(field.name, SKY_TEXT("transfer-encoding")))
            return take_coding(head, field.value, seen);
        break;
    default:
        break;
    }
    head->fields[head->field_count++] = field;
    return SKY_REFUSAL_none;
}

/* The name up to its colon; *underscore: it would meet the dashed name in a WSGI environ. */
static enum sky_refusal parse_name(struct sky_text line, struct sky_text *name, bool *underscore)
{
    size_t len = 0;

    *underscore = false;
    while (len < line.len && sky_http1_is(line.base[len], SKY_HTTP1_TOKEN))
        *underscore |= line.base[len++] == '_';
    *name = sky_text(line.base, len);
    if (len != 0 && len < line.len && line.base[len] == ':')
        return SKY_REFUSAL_none;
    size_t colon = len;
    while (colon < line.len && (line.base[colon] == ' ' || line.base[colon] == '\t'))
        colon++;
    return len != 0 && colon != len && colon < line.len && line.base[colon] == ':'
               ? SKY_REFUSAL_blank_before_colon
               : SKY_REFUSAL_field_name;
}

static enum sky_refusal parse_field(struct sky_text line, struct sky_head *head, struct seen *seen)
{
    struct sky_head_field field;
    bool underscore;
    enum sky_refusal refusal = parse_name(line, &field.name, &underscore);

    if (refusal != SKY_REFUSAL_none)
        return refusal;
    field.value = sky_text(line.base + field.name.len + 1, line.len - field.name.len - 1);
    if (!sky_http1_is_value(field.value.base, field.value.len))
        return SKY_REFUSAL_control;
    if (underscore) {
        head->dropped_count++;
        return SKY_REFUSAL_none;
    }
    field.value = sky_field_trim(field.value);
    return take_field(head, field, seen);
}

/* What only all fields together show. */
static enum sky_refusal check_fields(struct sky_head *head, const struct seen *seen)
{
    if (seen->length && seen->coding)
        return SKY_REFUSAL_coding_and_length;
    if (head->http11 && !seen->host)
        return SKY_REFUSAL_host_missing;
    head->keep_alive = (head->keep_alive || head->http11) && !seen->close;
    if (seen->upgrades != 0)
        settle_upgrade(head, seen);
    return SKY_REFUSAL_none;
}

enum sky_refusal sky_head_parse(struct sky_text bytes, struct sky_head *head)
{
    enum sky_refusal refusal;
    struct seen seen = {.host = false};

    *head = (struct sky_head){.fields = head->fields};
    struct sky_text line = cut(&bytes, '\n');
    line.len--; /* the CR; the scan has seen that it is there */
    if ((refusal = parse_request_line(line, head)) != SKY_REFUSAL_none)
        return refusal;
    while ((line = cut(&bytes, '\n')).len > 1) {
        line.len--;
        if ((refusal = parse_field(line, head, &seen)) != SKY_REFUSAL_none)
            return refusal;
    }
    return check_fields(head, &seen);
}
